//! Removes trees that a sandbox wrote, whose files may belong to subordinate ids.

use crate::{
    idmap::IdMap,
    sys::{self, Forked},
};
use agentkernel_archive::remove_tree;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Gid, Uid, WaitId, WaitIdOptions},
};
use std::{io, path::Path};

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
