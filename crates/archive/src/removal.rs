//! Removing what is in the way, without following anything.

use crate::{kernel::open_directory, name::MAX_DEPTH};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir},
    io::Errno,
};

/// Removes `name` in `parent`, and everything below it; nothing there is as good.
///
/// # Errors
/// `TOOBIG` for trees deeper than an archive can make.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    if unlink(parent, name)? == Found::Other {
        return Ok(());
    }
    let mut stack = vec![Level::open(parent, name)?];
    while let Some(level) = stack.last_mut() {
        let Some(entry) = level.entries.next() else {
            let done = stack.pop();
            let above = stack.last().map_or(parent, |level| level.fd.as_fd());
            if let Some(done) = done {
                absent(rustix::fs::unlinkat(above, done.name.as_slice(), AtFlags::REMOVEDIR))?;
            }
            continue;
        };
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") || unlink(level.fd.as_fd(), name)? == Found::Other {
            continue;
        }
        if stack.len() > MAX_DEPTH {
            return Err(Errno::TOOBIG);
        }
        let below = stack.last().map_or(parent, |level| level.fd.as_fd());
        let below = Level::open(below, name)?;
        stack.push(below);
    }
    Ok(())
}

struct Level {
    name: Vec<u8>,
    fd: OwnedFd,
    entries: Dir,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Self, Errno> {
        let fd = open_directory(parent, name)?;
        Ok(Self { name: name.to_vec(), entries: Dir::read_from(&fd)?, fd })
    }
}

#[derive(PartialEq, Eq)]
enum Found {
    Directory,
    /// Not any more.
    Other,
}

fn unlink(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Found, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(Found::Other),
        Err(Errno::ISDIR) => Ok(Found::Directory),
        // POSIX has this for directories, Linux for what may not be removed: opening it tells.
        Err(Errno::PERM) if open_directory(parent, name).is_ok() => Ok(Found::Directory),
        Err(errno) => Err(errno),
    }
}

fn absent(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
