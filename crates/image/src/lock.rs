//! Locks on files (flock(2)), which the kernel lets go of with their last descriptor, however that comes about.
//!
//! Locks are removed by whoever prunes, so that a lock is held by who holds the file that is at its path now.

use crate::disk::failed;
use agentkernel_model::Result;
use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

/// A lock that this process holds while the value lives.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Together with all who share it; waits for one who does not.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        take(path, FlockOperation::LockShared)
    }

    /// Alone; waits for all others.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        take(path, FlockOperation::LockExclusive)
    }

    /// Alone; `None` while somebody else holds it.
    pub(crate) fn attempt(path: &Path) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match rustix::io::retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) if is_at(&file, path)? => return Ok(Some(Self(file))),
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(e) => return Err(failed("lock", path, e.into())),
            }
        }
    }

    /// The directory `path` itself, alone; `None` while somebody else holds it, or when it is not there.
    pub(crate) fn directory(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("open", path, e)),
        };
        match rustix::io::retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(is_at(&file, path)?.then_some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(failed("lock", path, e.into())),
        }
    }

    /// Removes the file of a lock that is held alone: who waits for it makes another one.
    pub(crate) fn discard(self, path: &Path) -> Result<()> {
        crate::disk::remove(path).map(drop)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

fn take(path: &Path, operation: FlockOperation) -> Result<Lock> {
    loop {
        let file = open(path)?;
        rustix::io::retry_on_intr(|| flock(&file, operation)).map_err(|e| failed("lock", path, e.into()))?;
        if is_at(&file, path)? {
            return Ok(Lock(file));
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options.open(path).map_err(|e| failed("open the lock", path, e))
}

/// Whether `file` is the one at `path`.
fn is_at(file: &File, path: &Path) -> Result<bool> {
    let fail = |e| failed("look at", path, e);
    let ours = file.metadata().map_err(fail)?;
    match std::fs::symlink_metadata(path) {
        Ok(theirs) => Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(fail(e)),
    }
}
