//! What a detached command writes to one of its streams: the newest bytes, in one file that only its owner can read.

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The most bytes of a log. Of one that would become longer, the newer half stays.
pub(crate) const LIMIT: u64 = 16 << 20;

/// Which file a log is at a time, and how many bytes of the log were in those before it. It is told by number because a
/// reader can come between the change of the file and that of what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) inode: u64,
    pub(crate) offset: u64,
}

impl Start {
    fn of(file: &File, offset: u64) -> io::Result<Self> {
        Ok(Self { inode: file.metadata()?.ino(), offset })
    }
}

/// A log that is written to.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    start: Start,
    len: u64,
    limit: u64,
    dropped: u64,
}

impl Log {
    /// A new log at `path`.
    ///
    /// # Errors
    /// When it cannot be made, also because something is there.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        Self::bounded(path, LIMIT)
    }

    pub(super) fn bounded(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = open(&path, OFlags::EXCL)?;
        let start = Start::of(&file, 0)?;
        Ok(Self { path, file, start, len: 0, limit, dropped: 0 })
    }

    /// Where the file begins that it is now.
    pub(crate) const fn start(&self) -> Start {
        self.start
    }

    /// How many bytes there were that are not there any more: older ones that made room, and such as could not be written.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends `bytes`, which are less than half of a log. The command is never held up: what cannot be written, because
    /// the disk is full, is counted. Whoever has the log open reads on in what was there.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        if self.len.saturating_add(len) > self.limit && self.make_room().is_err() {
            self.dropped += len;
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(n) => rest = &rest[n..],
            }
        }
        self.dropped += rest.len() as u64;
        self.len += len - rest.len() as u64;
    }

    /// Puts a file with the newest bytes in the place of this one.
    fn make_room(&mut self) -> io::Result<()> {
        let keep = self.len.min(self.limit / 2);
        let path = new(&self.path);
        let moved = || {
            let mut old = File::open(&self.path)?;
            old.seek(SeekFrom::Start(self.len - keep))?;
            let mut file = open(&path, OFlags::TRUNC)?;
            io::copy(&mut old.take(keep), &mut file)?;
            let start = Start::of(&file, self.start.offset + self.len - keep)?;
            fs::rename(&path, &self.path)?;
            Ok((file, start))
        };
        let (file, start) = moved().inspect_err(|_: &io::Error| drop(fs::remove_file(&path)))?;
        self.dropped += self.len - keep;
        (self.file, self.start, self.len) = (file, start, keep);
        Ok(())
    }
}

/// What is written before it takes the place of the file at `path`.
pub(super) fn new(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// A file of ours that is appended to; no link is followed.
pub(super) fn open(path: &Path, how: OFlags) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | how;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
