//! What tests of agentkernel share: a fake backend, the conformance suite of the seam, and a hermetic environment for
//! tests of the command line. For development only: nothing of it is part of the product.
//!
//! Linux only, like the drivers that it checks.
#![forbid(unsafe_code)]

pub mod conformance;
pub mod engines;
pub mod env;
pub mod fake;
pub mod inside;
pub mod leftovers;
pub mod oci;
pub mod origin;
pub mod proc;
pub mod registry;
pub mod service;
pub mod sshd;

pub use env::TestEnv;
pub use fake::FakeBackend;
