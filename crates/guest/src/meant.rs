//! Whether what an engine mounted is what the keeper meant.
//!
//! Engines mount by name, and follow links. Between the keeper's look at a file or directory of the host and the mount,
//! somebody who can write beside it may have put a link in its place. A mount shows the very inode, under the numbers that
//! it has outside: they tell.

use crate::{fault::Step, wire::Fault};
use rustix::{
    fd::AsFd,
    fs::{fstat, stat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

/// One file or directory of the host, as its keeper holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// What `file` is. It stays so for as long as somebody holds it: a number may be given again after that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(file: impl AsFd) -> Result<Self, Errno> {
        fstat(file).map(|stat| Self { device: stat.st_dev, inode: stat.st_ino })
    }

    /// What commands get at `path`. Links of the image lead there for them as they do here.
    fn at(path: &str) -> Result<Self, Errno> {
        stat(path).map(|stat| Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// What is to be mounted at a path of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meant {
    pub target: String,
    pub identity: Identity,
}

impl Meant {
    /// # Errors
    /// `STALE` when something else is there.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let found = Identity::at(&self.target).step(|| format!("look at {} of the sandbox", self.target))?;
        if found == self.identity {
            return Ok(());
        }
        Err(Fault::new(
            format!("show {}: it is not what was meant to be mounted there", self.target),
            Errno::STALE,
        ))
    }
}

#[cfg(test)]
#[path = "meant_tests.rs"]
mod tests;
