//! Files of the sandbox, opened by a process inside: links lead where they lead inside, never to the host.

use crate::{
    sys::{self, Forked},
    wire::{Fault, OpenMode, Reply, send},
};
use agentkernel_backend::FileKind;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

pub fn open_null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a regular file. `NONBLOCK` keeps a FIFO or device that a guest put there from blocking init.
pub fn open(path: &str, mode: OpenMode) -> Result<OwnedFd, Fault> {
    let common = OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Links of /proc lead where no path inside does: to init's own binary and descriptors.
    let resolve = if crate::mutation::off("file-magic-links") {
        ResolveFlags::empty()
    } else {
        ResolveFlags::NO_MAGICLINKS
    };
    let open = |flags, mode| rustix::fs::openat2(CWD, path, common | flags, mode, resolve);
    let opened = match mode {
        OpenMode::Read => open(OFlags::RDONLY, Mode::empty()),
        OpenMode::Write { mode } => open(OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(mode & 0o777)),
    };
    let file = opened.map_err(|errno| Fault::new(format!("open {path}"), errno))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| Fault::new(format!("look at {path}"), errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Fault::new(format!("{path} is not a regular file: open it"), Errno::INVAL));
    }
    if matches!(mode, OpenMode::Write { .. }) {
        rustix::fs::ftruncate(&file, 0).map_err(|errno| Fault::new(format!("empty {path}"), errno))?;
    }
    Ok(file)
}

/// What is at `path`; `None` when nothing is.
fn look(path: &str) -> Result<Option<FileKind>, Fault> {
    let open = |flags| {
        let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
        rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
    };
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
pub fn open_apart(answer: &OwnedFd, path: &str, mode: OpenMode) -> Result<(), Errno> {
    apart(|| match open(path, mode) {
        Ok(file) => send(answer.as_fd(), &Reply::Opened, &[file.as_fd()]),
        Err(fault) => send(answer.as_fd(), &Reply::Refused(fault), &[]),
    })
}

/// [`look`] by a child of init. The answer goes to `answer` directly.
pub fn look_apart(answer: &OwnedFd, path: &str) -> Result<(), Errno> {
    apart(|| {
        let reply = look(path).map_or_else(Reply::Refused, |kind| Reply::Looked { kind });
        send(answer.as_fd(), &reply, &[])
    })
}

/// So that whatever blocks, blocks a process that nobody waits for.
fn apart(work: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    // SAFETY: init has one thread.
    match unsafe { sys::clone_single_threaded(0, None) }? {
        Forked::Parent(_) => Ok(()),
        Forked::Child => sys::exit_now(i32::from(work().is_err())),
    }
}
