//! Locks on files (flock(2)): held by an open file description, and let go by the kernel when its last descriptor is
//! closed, however that comes about. Who holds one is a fact that no crash can falsify.

use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process::Stdio,
    time::Duration,
};
use tokio::sync::oneshot;

/// How long a command waits for another one that works on the same sandbox.
const PATIENCE: Duration = Duration::from_secs(120);

/// A lock that this process holds, until this value and every copy that a child was given are gone.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// The lock at `path`, made when it is not there; `None` while somebody else holds it.
    pub(crate) fn attempt(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(failed(path, e)),
        }
    }

    /// Waits for the lock at `path`; `what` is what it protects.
    ///
    /// # Errors
    /// [`Kind::Conflict`] after two minutes.
    pub(crate) async fn wait(path: &Path, what: &str) -> Result<Self> {
        if let Some(lock) = Self::attempt(path)? {
            return Ok(lock);
        }
        // flock has no descriptor to watch. A thread of its own waits for it: unlike one of the runtime's, it keeps no
        // process from ending. Only a contended lock comes here, and never a process that is about to run something.
        let (tell, told) = oneshot::channel();
        let waiting = path.to_owned();
        std::thread::Builder::new()
            .name("lock".to_owned())
            .spawn(move || drop(tell.send(Self::block(&waiting))))
            .map_err(|e| Error::io("cannot start a thread", e))?;
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(lock)) => lock,
            Ok(Err(_)) => Err(Error::internal(format!("the wait for {what} was cut off"))),
            Err(_) => {
                Err(Error::new(Kind::Conflict, format!("another agentkernel command is busy with {what}"))
                    .with_hint("try again when it has ended")
                    .retry_later())
            }
        }
    }

    /// Waits for the lock at `path` and does nothing else meanwhile.
    pub(crate) fn block(path: &Path) -> Result<Self> {
        let file = open(path)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| failed(path, e))?;
        Ok(Self(file))
    }

    /// As [`Lock::attempt`], but a look at the lock ([`is_held`]) does not count as somebody who holds it. Only for
    /// callers that nobody races with for this lock.
    pub(crate) fn attempt_past_looks(path: &Path) -> Result<Option<Self>> {
        if let Some(lock) = Self::attempt(path)? {
            return Ok(Some(lock));
        }
        // Looks share the lock with us, a holder does not.
        if is_held(path)? { Ok(None) } else { Self::block(path).map(Some) }
    }

    /// A copy for a child process: the lock is held until the child, too, has let go.
    pub(crate) fn share(&self) -> Result<Stdio> {
        self.0.try_clone().map(Stdio::from).map_err(|e| Error::io("cannot share a lock", e))
    }

    /// Takes over a lock that a parent shared through `file`; `None` when `file` is something else.
    pub(crate) fn adopt(file: File, path: &Path) -> Result<Option<Self>> {
        let fail = |e| Error::io(format!("cannot look at '{}'", path.display()), e);
        let (ours, theirs) = (
            file.metadata().map_err(fail)?,
            match std::fs::metadata(path) {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(fail(e)),
            },
        );
        if (ours.dev(), ours.ino()) != (theirs.dev(), theirs.ino()) {
            return Ok(None);
        }
        // Succeeds at once on the description that holds it already.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(failed(path, e)),
        }
    }

    /// The locked file, for a note about the holder.
    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

/// Whether somebody holds the lock at `path`. Changes nothing and makes no file.
pub(crate) fn is_held(path: &Path) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io(format!("cannot open the lock '{}'", path.display()), e)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(failed(path, e)),
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(format!("cannot open the lock '{}'", path.display()), e))
}

fn failed(path: &Path, errno: Errno) -> Error {
    Error::io(format!("cannot lock '{}'", path.display()), errno.into())
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
