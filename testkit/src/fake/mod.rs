//! A backend that isolates NOTHING: its "sandboxes" are child processes of the host with a cleared environment and a
//! directory of their own. It exists to prove the seam and to test what stands above it, faults included.
//!
//! - The sandbox's root is the directory `<sandbox dir>/fake/root`: working directories and [`agentkernel_backend::Files`]
//!   are resolved in it, while absolute paths in a command's own arguments are the host's.
//! - It needs `setsid` and `setpriv` of util-linux, because ending a whole session and dying with a parent cannot be
//!   asked for from safe Rust.
//! - State lies under `host.data`, so another process attaches, stops and destroys as with any backend. So do the
//!   faults that it is told to have and the log of the calls it got: see [`FakeControl`].

mod backend;
mod command;
mod control;
mod files;
mod keeper;
mod run;
mod sandbox;
mod store;

pub use backend::{FakeBackend, honest_capabilities};
pub use control::{Action, FakeControl, Fault, FaultKind, Step};

use agentkernel_backend::Driver;
use agentkernel_model::capabilities::{Boundary, Class};

/// The registration of this backend. It has no rank: it is used when named, never chosen.
pub const DRIVER: Driver = Driver {
    id: "fake",
    aliases: &["none"],
    class: Class::Local,
    isolation: Boundary::None,
    auto_rank: None,
    build: backend::build,
};

#[cfg(test)]
mod tests;
