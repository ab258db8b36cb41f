//! Images and root file systems. In its first form: the built-in `host` image, and nothing that pulls.
#![forbid(unsafe_code)]

mod host;
mod toolchains;

pub use host::{HostFacts, host_rootfs};
