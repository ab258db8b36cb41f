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

    /// As [`Lock::attempt`], for a lock whose holder may remove it with the directory that it lies in. Who holds a lock
    /// holds the file that is at `path` now, not one that was there.
    pub(crate) fn reach(path: &Path) -> Result<Reached> {
        loop {
            let Some(file) = open_in_place(path)? else { return Ok(Reached::Missing) };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, path)? => return Ok(Reached::Held(Self(file))),
                // Removed between the two: there is another one now, or no directory.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(Reached::Busy),
                Err(e) => return Err(failed(path, e)),
            }
        }
    }

    /// As [`Lock::reach`], and waits for whoever holds it; `what` is what it protects. `None`: its directory is gone.
    ///
    /// # Errors
    /// [`Kind::Conflict`] after two minutes.
    pub(crate) async fn wait(path: &Path, what: &str) -> Result<Option<Self>> {
        match Self::reach(path)? {
            Reached::Held(lock) => return Ok(Some(lock)),
            Reached::Missing => return Ok(None),
            Reached::Busy => {}
        }
        let waiting = path.to_owned();
        match on_a_thread(PATIENCE, move || Self::block(&waiting)).await? {
            Some(lock) => Ok(lock),
            None => {
                Err(Error::new(Kind::Conflict, format!("another agentkernel command is busy with {what}"))
                    .with_hint("try again when it has ended")
                    .retry_later())
            }
        }
    }

    /// As [`Lock::wait`], without end, and does nothing else meanwhile.
    pub(crate) fn block(path: &Path) -> Result<Option<Self>> {
        loop {
            let Some(file) = open_in_place(path)? else { return Ok(None) };
            flock(&file, FlockOperation::LockExclusive).map_err(|e| failed(path, e))?;
            if is_at(&file, path)? {
                return Ok(Some(Self(file)));
            }
        }
    }

    /// As [`Lock::attempt`], but a look at the lock ([`is_held`]) does not count as somebody who holds it. Only for
    /// callers that nobody races with for this lock.
    pub(crate) fn attempt_past_looks(path: &Path) -> Result<Option<Self>> {
        if let Some(lock) = Self::attempt(path)? {
            return Ok(Some(lock));
        }
        // Looks share the lock with us, a holder does not.
        if is_held(path)? { Ok(None) } else { Self::block(path) }
    }

    /// The lock on the file at `path`, together with others who share it; `None` while somebody has it alone, and when there is
    /// no such file.
    pub(crate) fn shared(path: &Path) -> Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unopened(path, e)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(is_at(&file, path)?.then_some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(failed(path, e)),
        }
    }

    /// A copy for a child process: the lock is held until the child, too, has let go.
    pub(crate) fn share(&self) -> Result<Stdio> {
        self.0.try_clone().map(Stdio::from).map_err(|e| Error::io("cannot share a lock", e))
    }

    /// Takes over a lock that a parent shared through `file`; `None` when `file` is something else.
    pub(crate) fn adopt(file: File, path: &Path) -> Result<Option<Self>> {
        if !is_at(&file, path)? {
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

/// What came of reaching for a lock.
#[derive(Debug)]
pub(crate) enum Reached {
    Held(Lock),
    /// Somebody else holds it, or looks at it this moment.
    Busy,
    /// The directory that it would lie in does not exist.
    Missing,
}

/// Whether whoever holds the lock at `path` lets go of it in `patience`; a lock that nobody holds is free at once.
pub(crate) async fn is_released(path: &Path, patience: Duration) -> Result<bool> {
    if !is_held(path)? {
        return Ok(true);
    }
    let waiting = path.to_owned();
    let shared = move || match File::open(&waiting) {
        // As a look: it keeps no keeper out.
        Ok(file) => flock(&file, FlockOperation::LockShared).map_err(|e| failed(&waiting, e)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(unopened(&waiting, e)),
    };
    Ok(on_a_thread(patience, shared).await?.is_some())
}

/// What `wait` returns; `None` after `patience`, when the thread is left to itself.
///
/// flock has no descriptor to watch. A thread of its own waits for it: unlike one of the runtime's, it keeps no process
/// from ending. Only a contended lock comes here, and never a process that is about to run something.
async fn on_a_thread<T: Send + 'static>(
    patience: Duration,
    wait: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let (tell, told) = oneshot::channel();
    std::thread::Builder::new()
        .name("lock".to_owned())
        .spawn(move || drop(tell.send(wait())))
        .map_err(|e| Error::io("cannot start a thread", e))?;
    match tokio::time::timeout(patience, told).await {
        Ok(Ok(waited)) => waited.map(Some),
        Ok(Err(_)) => Err(Error::internal("the wait for a lock was cut off")),
        Err(_) => Ok(None),
    }
}

/// Whether `file` is the one at `path`.
fn is_at(file: &File, path: &Path) -> Result<bool> {
    let fail = |e| Error::io(format!("cannot look at '{}'", path.display()), e);
    let ours = file.metadata().map_err(fail)?;
    match std::fs::metadata(path) {
        Ok(theirs) => Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(fail(e)),
    }
}

/// Whether somebody holds the lock at `path`. Changes nothing and makes no file.
pub(crate) fn is_held(path: &Path) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(unopened(path, e)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(failed(path, e)),
    }
}

fn open(path: &Path) -> Result<File> {
    make(path).map_err(|e| unopened(path, e))
}

/// As [`open`]; `None` when there is no directory to make it in.
fn open_in_place(path: &Path) -> Result<Option<File>> {
    match make(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unopened(path, e)),
    }
}

fn make(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

fn unopened(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot open the lock '{}'", path.display()), error)
}

fn failed(path: &Path, errno: Errno) -> Error {
    Error::io(format!("cannot lock '{}'", path.display()), errno.into())
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
