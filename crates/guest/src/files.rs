//! Files of the sandbox, opened by a process inside: links lead where they lead inside, never to the host.

use crate::{
    entries,
    sys::{self, Forked},
    wire::{Fault, Reply, send},
};
use agentkernel_backend::FileKind;
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

pub fn open_null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a regular file for reading.
fn open(path: &str) -> Result<OwnedFd, Fault> {
    regular(path, OFlags::RDONLY, Mode::empty())
}

/// Opens a regular file for its new content, or makes it with `mode`.
pub(crate) fn create(path: &str, mode: u32) -> Result<OwnedFd, Fault> {
    let file = regular(path, OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(mode & 0o777))?;
    rustix::fs::ftruncate(&file, 0).map_err(|errno| Fault::new(format!("empty {path}"), errno))?;
    Ok(file)
}

/// Opens `path` as a command inside would, but through no link of /proc's that leads where no path does: to init's own
/// binary and descriptors.
pub(crate) fn open_inside(path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = if crate::mutation::off("file-magic-links") {
        ResolveFlags::empty()
    } else {
        ResolveFlags::NO_MAGICLINKS
    };
    match rustix::fs::openat2(CWD, path, flags, mode, resolve) {
        // gVisor has no such call. The process that opens holds nothing but the way back to the host, which is no file,
        // and the binary is in /.agentkernel for everybody to read.
        Err(Errno::NOSYS) => rustix::fs::openat(CWD, path, flags, mode),
        other => other,
    }
}

/// `NONBLOCK` keeps a FIFO or device that a guest put there from blocking whoever opens it.
fn regular(path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Fault> {
    let opened = open_inside(path, flags | OFlags::NOCTTY | OFlags::NONBLOCK, mode);
    let file = opened.map_err(|errno| Fault::new(format!("open {path}"), errno))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| Fault::new(format!("look at {path}"), errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::new(format!("{path} is not a regular file: open it"), Errno::INVAL));
    }
    // A link into /proc shows whoever opens it, who may be a clone of a process outside: its command line, for instance.
    let system = rustix::fs::fstatfs(&file).map_err(|errno| Fault::new(format!("look at {path}"), errno))?;
    if system.f_type == rustix::fs::PROC_SUPER_MAGIC && !path.starts_with("/proc/") {
        return Err(Fault::new(format!("{path} is a link into /proc: open it"), Errno::ACCESS));
    }
    Ok(file)
}

/// What is at `path`; `None` when nothing is.
fn look(path: &str) -> Result<Option<FileKind>, Fault> {
    let open = |flags| open_inside(path, OFlags::PATH | flags, Mode::empty());
    let fault = |errno| Fault::new(format!("look at {path}"), errno);
    let found = match open(OFlags::empty()) {
        Ok(found) => found,
        Err(Errno::NOTDIR) => return Ok(None),
        // A link that leads nowhere is something, too.
        Err(Errno::NOENT | Errno::LOOP) => {
            return match open(OFlags::NOFOLLOW) {
                Ok(_) => Ok(Some(FileKind::Other)),
                Err(Errno::NOENT) => Ok(None),
                Err(errno) => Err(fault(errno)),
            };
        }
        Err(errno) => return Err(fault(errno)),
    };
    let stat = rustix::fs::fstat(&found).map_err(fault)?;
    Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        _ => FileKind::Other,
    }))
}

/// [`open`] by a child of init. The answer goes to `answer` directly.
pub(crate) fn open_apart(answer: &OwnedFd, path: &str) -> Result<(), Errno> {
    apart(answer, |answer| match open(path) {
        Ok(file) => send(answer, &Reply::Opened, &[file.as_fd()]),
        Err(fault) => send(answer, &Reply::Refused(fault), &[]),
    })
}

/// [`look`] by a child of init. The answer goes to `answer` directly.
pub(crate) fn look_apart(answer: &OwnedFd, path: &str) -> Result<(), Errno> {
    apart(answer, |answer| {
        let reply = look(path).map_or_else(Reply::Refused, |kind| Reply::Looked { kind });
        send(answer, &reply, &[])
    })
}

/// [`entries::remove`] by a child of init. The answer goes to `answer` directly.
pub(crate) fn remove_apart(answer: &OwnedFd, path: &str) -> Result<(), Errno> {
    apart(answer, |answer| {
        let reply = match entries::remove(&open_inside, path) {
            Ok(()) => Reply::Removed,
            Err(errno) => Reply::Refused(Fault::new(format!("remove {path}"), errno)),
        };
        send(answer, &reply, &[])
    })
}

/// [`entries::list`] by a child of init. The answer goes to `answer` directly.
pub(crate) fn list_apart(answer: &OwnedFd, path: &str) -> Result<(), Errno> {
    apart(answer, |answer| {
        let reply = match entries::list(&open_inside, path) {
            Ok(list) => Reply::Listed(list),
            Err(errno) => Reply::Refused(Fault::new(format!("list {path}"), errno)),
        };
        send(answer, &reply, &[])
    })
}

/// So that whatever blocks, blocks a process that nobody waits for, and which holds nothing but `answer`.
pub(crate) fn apart(
    answer: &OwnedFd,
    work: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    // SAFETY: init has one thread.
    match unsafe { sys::clone_single_threaded(0, None) }? {
        Forked::Parent(_) => Ok(()),
        Forked::Child => {
            sys::close_all_except(&[answer.as_fd()]);
            sys::exit_now(i32::from(work(answer.as_fd()).is_err()))
        }
    }
}
