//! Single files by their paths: where one is, what is beside it, and new content for it.
//!
//! Paths are opened by an [`Opener`] only, which resolves them inside: whatever links are on the way, and whoever changes
//! them meanwhile, nothing outside can be reached.

mod incoming;
mod listing;
mod place;

pub use incoming::Incoming;
pub use listing::{list, remove};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};

/// Opens an absolute path as it is resolved inside.
pub type Opener<'a> = &'a dyn Fn(&str, OFlags, Mode) -> Result<OwnedFd, Errno>;

/// What /proc shows depends on who looks, and whoever looks here may be a clone of a process outside.
fn check_no_process(found: impl AsFd) -> Result<(), Errno> {
    let system = rustix::fs::fstatfs(found)?;
    if system.f_type == rustix::fs::PROC_SUPER_MAGIC { Err(Errno::ACCESS) } else { Ok(()) }
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
