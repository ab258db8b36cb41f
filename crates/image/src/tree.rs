//! Removes trees that an archive made: any names, any depth, any modes, and no link is followed.

use crate::disk::failed;
use agentkernel_model::Result;
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, Mode, OFlags},
    io::Errno,
};
use std::{ffi::CStr, path::Path};

/// Removes the directory `path` and everything below. What is not there is removed already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let fail = |errno: Errno| failed("remove", path, errno.into());
    let root = match open(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(fail)?,
    };
    empty(root.as_fd()).map_err(fail)?;
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR).map_err(fail)
}

/// Directories below those of `root` are moved up into `root` and have their turn there: a tree of any depth needs no
/// stack and three descriptors.
fn empty(root: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut moved = 0_u64;
    loop {
        let mut found = false;
        for entry in Dir::read_from(root)? {
            let entry = entry?;
            if is_itself(entry.file_name()) {
                continue;
            }
            found = true;
            if unlink(root, entry.file_name())? == Entry::Directory {
                dissolve(root, entry.file_name(), &mut moved)?;
            }
        }
        if !found {
            return Ok(());
        }
    }
}

/// Removes the directory `name`, and moves those in it to `root`.
fn dissolve(root: BorrowedFd<'_>, name: &CStr, moved: &mut u64) -> Result<(), Errno> {
    let directory = open(root, name)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !is_itself(entry.file_name()) && unlink(directory.as_fd(), entry.file_name())? == Entry::Directory
        {
            // Who moves a directory must be able to write it, for its `..`.
            drop(open(directory.as_fd(), entry.file_name())?);
            lift(directory.as_fd(), entry.file_name(), root, moved)?;
        }
    }
    match rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR) {
        // A directory that changes while it is read may hide an entry: there is another turn.
        Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn lift(from: BorrowedFd<'_>, name: &CStr, root: BorrowedFd<'_>, moved: &mut u64) -> Result<(), Errno> {
    loop {
        *moved += 1;
        match rustix::fs::renameat(from, name, root, format!(".moved-{moved}")) {
            // The tree itself has such a name.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            other => return other,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Entry {
    Directory,
    Gone,
}

fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> Result<Entry, Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Entry::Gone),
        // POSIX says EPERM for directories, Linux says EISDIR.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Entry::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Entry::Directory),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory, and makes it one that its owner may read and empty.
fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
                rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            }
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    if rustix::fs::fstat(&directory)?.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
    }
    Ok(directory)
}

fn is_itself(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
