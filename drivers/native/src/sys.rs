//! System calls of mounts and namespaces that rustix does not wrap: every `unsafe` block of this crate that is not a fork
//! stands here. Those of processes are the guest crate's.

use agentkernel_guest::sys::check;
pub(crate) use agentkernel_guest::sys::{
    Forked, clone_single_threaded, close_all_except, exit_now, fork, is_single_threaded, peer, watch,
};
use rustix::{
    fd::{AsRawFd, BorrowedFd},
    io::Errno,
};
use std::mem::size_of;

/// `unshare(2)` of namespaces.
pub(crate) fn unshare(namespaces: libc::c_int) -> Result<(), Errno> {
    // SAFETY: only called with namespace flags, none of which changes what memory or descriptors this process has.
    check(libc::c_long::from(unsafe { libc::unshare(namespaces) }))?;
    Ok(())
}

/// What of a mount to set; `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

pub(crate) const MOUNT_RDONLY: u64 = 0x1;
pub(crate) const MOUNT_NOSUID: u64 = 0x2;
pub(crate) const MOUNT_NODEV: u64 = 0x4;
pub(crate) const MOUNT_NOEXEC: u64 = 0x8;
pub(crate) const MOUNT_IDMAP: u64 = 0x0010_0000;

/// Whether `mount_setattr` reaches the mounts below as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Top,
    Recursive,
}

/// `mount_setattr(2)` on the mount that `fd` is the root of.
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, depth: Depth, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if depth == Depth::Recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a valid mount_attr of the size given; the kernel only reads.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Overwrites the environment that this process has of its parent, so that nothing of it is in its memory.
pub(crate) fn forget_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: only called by init, whose one thread is here, with no reference into the environment anywhere. `environ` is
    // null or an array with a null at its end, of C strings in memory that may be written: the stack, where execve(2) puts
    // them, or the C library's.
    unsafe {
        let mut next = environ;
        environ = std::ptr::null_mut();
        while !next.is_null() && !(*next).is_null() {
            std::ptr::write_bytes(*next, 0, libc::strlen(*next));
            next = next.add(1);
        }
    }
}

/// Stops this process until somebody continues it.
pub(crate) fn stop_self() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGSTOP) };
}
