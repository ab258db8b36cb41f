//! Modes and times of directories, which are theirs only when everything in them is made.

use crate::{
    fault::fault,
    kernel::{self, Id},
    member::Time,
    name::{Name, shown},
    tree::Tree,
};
use agentkernel_model::{Error, Result};
use rustix::{
    fd::OwnedFd,
    fs::{Timespec, Timestamps},
    io::Errno,
};
use std::collections::BTreeMap;

/// The most bytes of all names that are kept.
const MAX_NAMES: usize = 64 << 20;

#[derive(Debug, Default)]
pub(crate) struct Directories {
    /// A name sorts before all names below it.
    later: BTreeMap<Vec<u8>, Late>,
    names: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    pub(crate) mode: u32,
    pub(crate) modified: Time,
    /// Which directory it was: another may stand there by then.
    pub(crate) id: Id,
}

impl Directories {
    pub(crate) fn note(&mut self, name: &Name, late: Late) -> Result<()> {
        if self.later.insert(name.bytes().to_vec(), late).is_none() {
            self.names += name.bytes().len();
        }
        if self.names > MAX_NAMES {
            return Err(Error::invalid("the archive has too many directories with long names"));
        }
        Ok(())
    }

    /// Gives all of them what they shall have, deepest first: a directory may close the way to those below it.
    pub(crate) fn finish(self, tree: &mut Tree<'_>) -> Result<()> {
        for (path, late) in self.later.into_iter().rev() {
            match open(tree, &path).and_then(|fd| late.apply(&fd)) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => {
                    return Err(fault(format!("cannot finish the directory {}", shown(&path)), errno));
                }
            }
        }
        Ok(())
    }
}

fn open(tree: &mut Tree<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let slash = path.iter().rposition(|b| *b == b'/');
    let (parent, last) = slash.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
    kernel::open_directory(tree.find(parent)?, if last.is_empty() { b"." } else { last })
}

impl Late {
    fn apply(&self, fd: &OwnedFd) -> Result<(), Errno> {
        if kernel::look(fd)?.id != self.id {
            return Ok(());
        }
        rustix::fs::fchmod(fd, kernel::mode(self.mode))?;
        rustix::fs::futimens(fd, &times(self.modified))
    }
}

pub(crate) fn times((seconds, nanos): Time) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
