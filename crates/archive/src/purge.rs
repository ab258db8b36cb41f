//! Removing a tree that nobody trusts: any names, any depth, any modes, and no link is followed.

use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    path::Path,
};

/// Deeper directories are moved up and removed from there, so that no tree exhausts descriptors, names or the stack.
const MAX_DEPTH: usize = 100;

/// Removes `path` and everything below it; what does not exist is removed already. A call that was interrupted is done by
/// the next one. Nobody may write into the tree meanwhile. Blocks for as long as the tree is large.
///
/// # Errors
/// What the kernel says of the first thing that cannot be removed. `INVAL` for a path without a name, as `/`.
pub fn remove_tree(path: &Path) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    // The directory of a relative name of one part.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    if unlink(parent.as_fd(), &name)? == Found::Gone {
        return Ok(());
    }
    let top = open_directory(parent.as_fd(), &name)?;
    let mut deep = Deep { top: top.as_fd(), moved: 0 };
    loop {
        let before = deep.moved;
        empty(top.as_fd(), 0, &mut deep)?;
        if deep.moved == before {
            break;
        }
    }
    rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR)
}

/// Where directories that lie too deep are moved to, to be removed in their turn: into the tree itself, so that a removal
/// that is interrupted leaves nothing beside it.
struct Deep<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Deep<'_> {
    fn take(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        // Whoever moves a directory must be able to write into it.
        drop(open_directory(parent, name)?);
        loop {
            let place =
                CString::new(format!(".agentkernel-purge-{}", self.moved)).map_err(|_| Errno::INVAL)?;
            self.moved += 1;
            match rustix::fs::renameat(parent, name, self.top, &place) {
                // What wrote the tree may have guessed the name.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return other,
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Found {
    Directory,
    /// Not any more, or never.
    Gone,
}

/// Removes everything in `directory`, but for what was moved to the top while that is read.
fn empty(directory: BorrowedFd<'_>, depth: usize, deep: &mut Deep<'_>) -> Result<(), Errno> {
    Dir::read_from(directory)?.try_for_each(|entry| remove_entry(directory, entry?.file_name(), depth, deep))
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, depth: usize, deep: &mut Deep<'_>) -> Result<(), Errno> {
    if matches!(name.to_bytes(), b"." | b"..") || unlink(parent, name)? == Found::Gone {
        return Ok(());
    }
    if depth >= MAX_DEPTH {
        return deep.take(parent, name);
    }
    let directory = open_directory(parent, name)?;
    empty(directory.as_fd(), depth + 1, deep)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Removes what is no directory, or is an empty one.
fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> Result<Found, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Found::Gone),
        // POSIX says EPERM for directories, Linux says EISDIR.
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Found::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Found::Directory),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory that its owner may have made unreadable, as overlay does with its work directory.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            }
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    // Entries can be removed from a directory that its owner may write.
    let stat = rustix::fs::fstat(&directory)?;
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

#[cfg(test)]
#[path = "purge_tests.rs"]
mod tests;
