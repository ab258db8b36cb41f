//! The directory of a vault: files that nobody else may read, replaced as a whole, and one writer at a time.

use agentkernel_model::{Error, Kind, Result, text::printable};
use rustix::{
    fs::{
        AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync, openat, renameat,
        unlinkat,
    },
    io::Errno,
};
use std::{
    fs::{DirBuilder, File},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};
use zeroize::Zeroizing;

const LOCK: &str = "vault.lock";
/// How long a command waits for another one that changes the vault; that one may be asking for a passphrase.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a replacement has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Created,
    Written,
    Synced,
    Renamed,
}

/// Opened, so that what is looked at and what is used is one and the same.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// Held until it is dropped, or its process ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "closing it lets go of the lock")] File);

impl Directory {
    /// `None`: there is none.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it is a link, or others may change it.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let shown = || printable(&path.to_string_lossy());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Err(Error::new(Kind::Denied, format!("'{}' is no directory of its own", shown()))
                    .with_hint(format!("look at what '{}' is, and move it away", shown())));
            }
            Err(e) => return Err(Error::io(format!("cannot open '{}'", shown()), e.into())),
        };
        let stat = fstat(&fd).map_err(|e| Error::io(format!("cannot look at '{}'", shown()), e.into()))?;
        own(&stat, &shown())?;
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
            return Err(Error::new(Kind::Denied, format!("others may change what is in '{}'", shown()))
                .with_hint(format!("chmod 700 '{}'", shown())));
        }
        Ok(Some(Self { fd, path: path.to_owned() }))
    }

    /// As [`Directory::open`], and makes it where there is none.
    pub(super) fn make(path: &Path) -> Result<Self> {
        let fail = |e| Error::io(format!("cannot make '{}'", printable(&path.to_string_lossy())), e);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        Self::open(path)?.ok_or_else(|| fail(Errno::NOENT.into()))
    }

    /// A path in it, for people.
    pub(super) fn shown(&self, name: &str) -> String {
        printable(&self.path.join(name).to_string_lossy())
    }

    /// The whole file; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Denied`] when it is a link, no file, somebody else's, or others may read it; `Internal` when it is longer
    /// than `most`.
    pub(super) fn read(&self, name: &str, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let path = self.shown(name);
        // A pipe in its place is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(elsewhere(&path, "is a link")),
            Err(e) => return Err(Error::io(format!("cannot open '{path}'"), e.into())),
        };
        let stat = fstat(&fd).map_err(|e| Error::io(format!("cannot look at '{path}'"), e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(elsewhere(&path, "is no file"));
        }
        own(&stat, &path)?;
        // None: it was replaced by a newer one a moment ago, and this is the one before.
        if stat.st_nlink > 1 {
            return Err(elsewhere(&path, "has a second name"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(Error::new(Kind::Denied, format!("'{path}' can be read or changed by others"))
                .with_hint(format!("chmod 600 '{path}', and think about who may have read it")));
        }
        let too_long = || Error::internal(format!("'{path}' is longer than anything agentkernel writes"));
        let length = usize::try_from(stat.st_size).ok().filter(|n| *n <= most).ok_or_else(too_long)?;
        // One more than it has: a file that grows meanwhile is seen, and memory that grows leaves copies.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        let read = File::from(fd).take(length as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::io(format!("cannot read '{path}'"), e))?;
        if bytes.len() > length { Err(too_long()) } else { Ok(Some(bytes)) }
    }

    /// Puts `bytes` in the place of the file, on the disk and all at once.
    ///
    /// # Errors
    /// When it cannot be written: the file is then as it was.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let result = self.replace_in_steps(name, bytes, &mut |_| Ok(()));
        if result.is_err() {
            // There may be none, and the first error is the one to tell.
            let _ = unlinkat(&self.fd, fresh(name).as_str(), AtFlags::empty());
        }
        result
    }

    /// As [`Directory::replace`]; `after` hears of each step, and its error ends it there, as a kill would.
    pub(super) fn replace_in_steps(
        &self,
        name: &str,
        bytes: &[u8],
        after: &mut dyn FnMut(Step) -> Result<()>,
    ) -> Result<()> {
        let fresh = fresh(name);
        let fail = |e: std::io::Error| Error::io(format!("cannot write '{}'", self.shown(name)), e);
        // What somebody left who was killed; the lock is held, so nobody is writing it.
        match unlinkat(&self.fd, fresh.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(fail(e.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&self.fd, fresh.as_str(), flags, Mode::RUSR | Mode::WUSR).map_err(|e| fail(e.into()))?;
        after(Step::Created)?;
        let mut file = File::from(fd);
        file.write_all(bytes).map_err(fail)?;
        after(Step::Written)?;
        file.sync_all().map_err(fail)?;
        after(Step::Synced)?;
        renameat(&self.fd, fresh.as_str(), &self.fd, name).map_err(|e| fail(e.into()))?;
        after(Step::Renamed)?;
        fsync(&self.fd).map_err(|e| fail(e.into()))
    }

    /// The right to change what is here.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when another process has it for a minute.
    pub(super) fn lock(&self) -> Result<Lock> {
        let path = self.shown(LOCK);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fail = move |e: Errno| Error::io(format!("cannot lock '{path}'"), e.into());
        let file = openat(&self.fd, LOCK, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(&fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Lock(file)),
            Err(Errno::WOULDBLOCK) => {}
            Err(e) => return Err(fail(e)),
        }
        let (told, hear) = mpsc::channel();
        // It ends with the process when nobody waits any more.
        std::thread::spawn(move || {
            let locked = flock(&file, FlockOperation::LockExclusive);
            let _nobody_waits = told.send(locked.map(|()| Lock(file)));
        });
        match hear.recv_timeout(PATIENCE) {
            Ok(locked) => locked.map_err(fail),
            Err(_) => Err(Error::new(Kind::Conflict, "another agentkernel command is changing the vault")
                .with_hint("try again when it has ended")
                .retry_later()),
        }
    }
}

fn fresh(name: &str) -> String {
    format!("{name}.new")
}

fn own(stat: &Stat, path: &str) -> Result<()> {
    if stat.st_uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("'{path}' belongs to another user"))
        .with_hint("run agentkernel as that user, or set XDG_DATA_HOME to a directory of your own"))
}

fn elsewhere(path: &str, what: &str) -> Error {
    Error::new(Kind::Denied, format!("'{path}' {what}, and secrets are only kept in a file of their own"))
        .with_hint(format!("look at what '{path}' is, and move it away"))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
