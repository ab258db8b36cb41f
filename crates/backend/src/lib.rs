//! The seam: what the engine asks of a backend, and nothing else.
//!
//! A backend is a string id, a constructor and one registration line ([`Driver`], [`Registry`]). The doc comment of
//! each method is its contract; the conformance suite in `testkit` checks it on every backend.
#![forbid(unsafe_code)]

pub mod admit;
pub mod driver;
pub mod file;
pub mod gateway;
pub mod host;
pub mod process;
pub mod rootfs;
pub mod sandbox;
pub mod state;

pub use admit::{Admitted, Refusal};
pub use driver::{Backend, CreateInputs, Driver, Health, Owned, Pooling, Registry};
pub use file::{EntryKind, FileEntry, FileKind, FileList, OpenFile};
pub use gateway::{ByteStream, Datagram, Ends, Flow, Gateway, Packet, Uplink};
pub use host::{Host, Surroundings};
pub use process::{ByteSink, ByteSource, Control, Exit, ExitFuture, Output, Process};
pub use rootfs::{GeneratedFile, Graft, ImageDefaults, Lease, Owners, Rootfs};
pub use sandbox::{Files, Sandbox, Stats};
pub use state::DriverState;
