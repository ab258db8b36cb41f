//! Removes trees that a sandbox wrote: any names, any depth, any owners, and no link is followed.

use crate::{
    idmap::IdMap,
    sys::{self, Forked},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    process::{Gid, Uid, WaitId, WaitIdOptions},
};
use std::{
    ffi::{CStr, CString},
    io,
    path::Path,
};

/// Deeper directories are moved up and removed from there, so that no tree exhausts descriptors or the stack.
const MAX_DEPTH: usize = 100;

/// Removes `path` and everything below. What does not exist is removed already.
pub(crate) fn purge(path: &Path, map: &IdMap) -> io::Result<()> {
    match remove_tree(path) {
        // Some files belong to subordinate ids: only their own user namespace may remove them.
        Err(Errno::ACCESS | Errno::PERM) if matches!(map, IdMap::Subordinate { .. }) => {
            remove_inside(path, map)?;
            Ok(remove_tree(path)?)
        }
        other => Ok(other?),
    }
}

fn remove_tree(path: &Path) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::INVAL)?;
    let mut work = vec![name];
    let mut moved = 0;
    while let Some(name) = work.pop() {
        let mut deep = Deep { top: parent.as_fd(), moved: &mut moved, found: &mut work };
        remove_entry(parent.as_fd(), &name, 0, &mut deep)?;
    }
    Ok(())
}

/// Where directories that lie too deep are moved to, to be removed in their turn.
struct Deep<'a> {
    top: BorrowedFd<'a>,
    moved: &'a mut u32,
    found: &'a mut Vec<CString>,
}

fn remove_entry(parent: BorrowedFd<'_>, name: &CStr, depth: usize, deep: &mut Deep<'_>) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX says EPERM for directories, Linux says EISDIR.
        Err(Errno::ISDIR | Errno::PERM | Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    if depth >= MAX_DEPTH {
        let place = format!(".agentkernel-purge-{}-{}", std::process::id(), deep.moved);
        let place = CString::new(place).map_err(|_| Errno::INVAL)?;
        rustix::fs::renameat(parent, name, deep.top, &place)?;
        *deep.moved += 1;
        deep.found.push(place);
        return Ok(());
    }
    let directory = open_directory(parent, name)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            remove_entry(directory.as_fd(), entry.file_name(), depth + 1, deep)?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
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

/// Empties `path` as root of a user namespace with the map of the sandbox that wrote it.
fn remove_inside(path: &Path, map: &IdMap) -> io::Result<()> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: fork(2) of the C library leaves a sound heap, and the child touches no lock.
    match unsafe { sys::fork() }? {
        Forked::Parent(pid) => {
            drop(read);
            // The child waits for its namespace to be mapped, this side for the namespace: both by the pipe pair below.
            let mapped = wait_for_namespace(pid).and_then(|()| map.write(pid));
            drop(write);
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED))?;
            mapped
        }
        Forked::Child => {
            drop(write);
            let done = remove_as_inside_root(path, &read);
            sys::exit_now(i32::from(done.is_err()))
        }
    }
}

fn remove_as_inside_root(path: &Path, mapped: &OwnedFd) -> Result<(), Errno> {
    sys::unshare(libc::CLONE_NEWUSER)?;
    // Stops itself so that the other side sees that the namespace exists; goes on when the maps are written.
    sys::stop_self();
    let mut end = [0_u8; 1];
    rustix::io::retry_on_intr(|| rustix::io::read(mapped, &mut end[..]))?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    remove_tree(path)
}

fn wait_for_namespace(pid: rustix::process::Pid) -> io::Result<()> {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED;
    let status = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::Pid(pid), options))?;
    if status.is_some_and(|s| s.stopped()) {
        rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
        return Ok(());
    }
    Err(io::Error::other("this user may not make user namespaces"))
}
