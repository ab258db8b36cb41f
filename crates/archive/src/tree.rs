//! The directory that an archive is unpacked into: no name, and no link in it, leads out of it.

use crate::{
    fault::fault,
    kernel::{self, Facts},
    name::{Name, shown},
    removal::remove,
    tally::Tally,
    unpack::{Existing, Ownership},
};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{Gid, Uid},
    io::Errno,
};

/// How often something may be in the way again that was removed a moment ago: others can write here as well.
const ATTEMPTS: usize = 8;

#[derive(Debug)]
pub(crate) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Whom directories belong to that no entry names.
    owner: Option<(Uid, Gid)>,
    existing: Existing,
    /// The directory of the last entry, which most often is the next one's as well.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, ownership: Ownership, existing: Existing) -> Result<Self> {
        let facts =
            kernel::look(root).map_err(|e| fault("cannot look at the directory to unpack into", e))?;
        let owner = match ownership {
            Ownership::Archive | Ownership::ArchivePlain => {
                Some((Uid::from_raw(facts.uid), Gid::from_raw(facts.gid)))
            }
            Ownership::Caller => None,
        };
        Ok(Self { root, owner, existing, last: None })
    }

    /// Calls `make` with the directory of `name` and its last component until it does not find anything there.
    pub(crate) fn place<T>(
        &mut self,
        name: &Name,
        tally: &mut Tally,
        mut make: impl FnMut(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T> {
        let (parent, last) = split(name)?;
        for _ in 0..ATTEMPTS {
            match make(self.parent(parent, tally)?, last) {
                Err(Errno::EXIST) => self.clear(name)?,
                made => return made.map_err(|e| fault(format!("cannot make {name}"), e)),
            }
        }
        Err(Error::new(Kind::Conflict, format!("{name} is made again and again by somebody else")))
    }

    /// The directory `name`, whether it was there or not, and what stood in its place before.
    pub(crate) fn directory(&mut self, name: &Name, tally: &mut Tally) -> Result<(OwnedFd, Before)> {
        let (parent, last) = split(name)?;
        let mut before = Before::Nothing;
        for _ in 0..ATTEMPTS {
            let at = self.parent(parent, tally)?;
            let made = rustix::fs::mkdirat(at, last, kernel::mode(0o700));
            match made.and_then(|()| kernel::open_directory(at, last)) {
                Ok(fd) => return Ok((fd, before)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(fault(format!("cannot make the directory {name}"), errno)),
            }
            match kernel::open_directory(at, last) {
                Ok(fd) => return Ok((fd, Before::Directory)),
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => {}
                Err(errno) => return Err(fault(format!("cannot open the directory {name}"), errno)),
            }
            if kernel::look_at(at, last).is_ok_and(|facts| facts.is_whiteout()) {
                before = Before::Whiteout;
            }
            self.clear(name)?;
        }
        Err(Error::new(Kind::Conflict, format!("{name} is made again and again by somebody else")))
    }

    /// A directory that entries go into, for reading; made when it is missing.
    pub(crate) fn filled(&mut self, name: &Name, tally: &mut Tally) -> Result<OwnedFd> {
        let opened = kernel::open_directory(self.parent(name.bytes(), tally)?, b".");
        opened.map_err(|e| fault(format!("cannot open the directory {name}"), e))
    }

    /// What `name` is, no link followed; `None` when there is nothing.
    pub(crate) fn look(&mut self, name: &Name) -> Result<Option<Facts>> {
        let (parent, last) = split(name)?;
        let found = self.find(parent).and_then(|at| kernel::look_at(at, last));
        match found {
            Ok(facts) => Ok(Some(facts)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(fault(format!("cannot look at {name}"), errno)),
        }
    }

    /// Removes what is at `name`, if that is allowed.
    pub(crate) fn clear(&mut self, name: &Name) -> Result<()> {
        if self.existing == Existing::Refuse {
            return Err(Error::new(Kind::AlreadyExists, format!("{name} exists already")));
        }
        let (parent, last) = split(name)?;
        let existing = self.existing;
        let removed = match self.find(parent) {
            Ok(at) if existing == Existing::Merge => unlink_empty(at, last),
            Ok(at) => remove(at, last),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        };
        removed.map_err(|e| fault(format!("cannot remove {name}, which is in the way"), e))
    }

    /// A descriptor of the existing directory at `path`. Whoever removes something asks for its parent first, so that
    /// what is kept open is never what was removed.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        let known = self.last.take().filter(|(known, _)| known == path);
        let last = match known {
            Some(last) => last,
            None => (path.to_vec(), kernel::open_within(self.root, path)?),
        };
        Ok(self.last.insert(last).1.as_fd())
    }

    /// As [`find`](Self::find); directories that are missing are made.
    fn parent(&mut self, path: &[u8], tally: &mut Tally) -> Result<BorrowedFd<'_>> {
        let missing = match self.find(path) {
            Ok(_) => false,
            Err(Errno::NOENT) => true,
            Err(errno) => return Err(fault(format!("cannot open the directory {}", shown(path)), errno)),
        };
        if missing {
            self.make_all(path, tally)?;
        }
        self.find(path).map_err(|e| fault(format!("cannot open the directory {}", shown(path)), e))
    }

    fn make_all(&mut self, path: &[u8], tally: &mut Tally) -> Result<()> {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let path = &path[..end];
            match self.find(path) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fault(format!("cannot open the directory {}", shown(path)), errno)),
            }
            tally.entry()?;
            let start = path.iter().rposition(|b| *b == b'/');
            let (above, last) = start.map_or((&[][..], path), |at| (&path[..at], &path[at + 1..]));
            let owner = self.owner;
            let made = self.find(above).and_then(|at| make_plain(at, last, owner));
            made.map_err(|errno| match errno {
                // It was not found a moment ago, so this is a link.
                Errno::EXIST => Error::invalid(format!("{} is a link that leads nowhere", shown(path))),
                errno => fault(format!("cannot make the directory {}", shown(path)), errno),
            })?;
        }
        Ok(())
    }
}

/// Removes what is no directory, or an empty one.
fn unlink_empty(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    use rustix::fs::{AtFlags, unlinkat};
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => unlinkat(parent, name, AtFlags::REMOVEDIR),
        Err(errno) => Err(errno),
    }
}

/// What was at the place of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing, or what was replaced.
    Nothing,
    Directory,
    Whiteout,
}

fn split(name: &Name) -> Result<(&[u8], &[u8])> {
    name.split().ok_or_else(|| Error::invalid("the archive has an entry for its root that is no directory"))
}

fn make_plain(parent: BorrowedFd<'_>, name: &[u8], owner: Option<(Uid, Gid)>) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, kernel::mode(0o700))?;
    let fd = kernel::open_directory(parent, name)?;
    if let Some((uid, gid)) = owner {
        rustix::fs::fchown(&fd, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(&fd, kernel::mode(0o755))
}
