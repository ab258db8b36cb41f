//! Files of the sandbox, opened by a process inside: links lead where they lead inside, never to the host.

use crate::{
    sys::{self, Forked},
    wire::{Fault, OpenMode},
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

pub(crate) fn open_null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a regular file. `NONBLOCK` keeps a FIFO or device that a guest put there from blocking init.
pub(crate) fn open(path: &str, mode: OpenMode) -> Result<OwnedFd, Fault> {
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

/// [`open`] by a child of init, so that whatever blocks, blocks a process that nobody waits for. The answer goes to
/// `answer` directly.
pub(crate) fn open_apart(answer: &OwnedFd, path: &str, mode: OpenMode) -> Result<(), Errno> {
    // SAFETY: init has one thread.
    match unsafe { sys::clone_single_threaded(0, None) }? {
        Forked::Parent(_) => Ok(()),
        Forked::Child => {
            let sent = match open(path, mode) {
                Ok(file) => crate::wire::send(answer.as_fd(), &crate::wire::Reply::Opened, &[file.as_fd()]),
                Err(fault) => crate::wire::send(answer.as_fd(), &crate::wire::Reply::Refused(fault), &[]),
            };
            sys::exit_now(i32::from(sent.is_err()))
        }
    }
}
