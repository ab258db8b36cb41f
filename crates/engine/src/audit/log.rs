//! The file of events: lines are appended in one piece, and when the file is full it becomes the one old file that is
//! kept. Any number of processes write at once.
//!
//! A writer shares a lock on the file for the moment of its write, and whoever moves the file away needs it alone. Nobody
//! waits for anybody: a process that was stopped in the middle must not stop all others.

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use std::{
    fs::{self, File, Metadata, Permissions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// A file that would become longer is moved away first.
pub(crate) const LIMIT: u64 = 10 * 1024 * 1024;
/// How often the file may be moved away between finding and locking it before something else is wrong.
const ATTEMPTS: usize = 16;

/// Where the file is moved to; what was there is gone then.
pub(crate) fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Which file it is, for as long as it is kept.
pub(crate) type FileId = (u64, u64);

/// The file that is at `path` now.
pub(crate) fn current(path: &Path) -> io::Result<Option<FileId>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Appends `line`, with its end, to the file at `path`, and says which one that was.
///
/// After an error nothing of it is there; if a part is all the same, because others write to a full disk as well, the
/// next line begins behind it.
///
/// # Errors
/// `NotFound` when there is no directory; whatever keeps the file from being written.
pub(crate) fn append(path: &Path, line: &[u8], limit: u64) -> io::Result<FileId> {
    for _ in 0..ATTEMPTS {
        let file = open(path)?;
        let locked = lock(&file, FlockOperation::NonBlockingLockShared)?;
        let found = file.metadata()?;
        // Without the lock somebody is moving it away at this moment: the line goes along.
        if locked && !is_at(&found, path)? {
            continue;
        }
        let full = found.len().saturating_add(line.len() as u64) > limit;
        if locked && full && found.len() > 0 && rotate(&file, path)? {
            continue;
        }
        write(&file, found.len(), line)?;
        return Ok((found.dev(), found.ino()));
    }
    Err(io::Error::other("it is moved away again and again"))
}

/// Writes `line` to `file`, which was `len` bytes long a moment ago.
fn write(file: &File, len: u64, line: &[u8]) -> io::Result<()> {
    let piece = if is_at_an_end(file, len)? { line.to_vec() } else { [b"\n", line].concat() };
    // One write to a file that is open for appending is one piece, whoever else writes.
    let written = (&*file).write(&piece)?;
    if written == piece.len() {
        return Ok(());
    }
    take_back(file, piece.get(..written).unwrap_or_default())?;
    Err(io::Error::new(io::ErrorKind::StorageFull, "only a part of the line could be written"))
}

/// Whether a line ended where the file does.
fn is_at_an_end(file: &File, len: u64) -> io::Result<bool> {
    let Some(at) = len.checked_sub(1) else { return Ok(true) };
    let mut last = [0];
    file.read_exact_at(&mut last, at)?;
    Ok(last == *b"\n")
}

/// Takes away `part`, if it is what the file ends with and nobody else writes.
fn take_back(file: &File, part: &[u8]) -> io::Result<()> {
    if !lock(file, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(());
    }
    let Some(at) = file.metadata()?.len().checked_sub(part.len() as u64) else { return Ok(()) };
    let mut last = vec![0; part.len()];
    file.read_exact_at(&mut last, at)?;
    if last == part { file.set_len(at) } else { Ok(()) }
}

/// Moves the file away; `false`: somebody writes to it, and the next line will find it full again.
fn rotate(file: &File, path: &Path) -> io::Result<bool> {
    if !lock(file, FlockOperation::NonBlockingLockExclusive)? {
        return Ok(false);
    }
    // On the way from one lock to the other it was nobody's.
    if is_at(&file.metadata()?, path)? {
        fs::rename(path, old(path))?;
    }
    Ok(true)
}

fn lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Never waits and follows no link: what is not a plain file of ours is refused.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if found.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn is_at(found: &Metadata, path: &Path) -> io::Result<bool> {
    Ok(current(path)? == Some((found.dev(), found.ino())))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
