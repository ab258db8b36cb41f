//! Archives in and out of a sandbox: a child of init packs and unpacks, behind init's own walls. It ends with the sandbox,
//! and blocks nobody.

use crate::{
    fault::Step,
    sys::{self, Forked},
    wire::{Failure, Fault, Reply, send},
};
use agentkernel_archive::{
    Bounds, Crossing, Existing, Ownership, PackOptions, UnpackOptions, Whiteouts, pack, unpack,
};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
    process::Pid,
};
use std::fs::File;

/// Far beyond what a disk holds: like the files of a command, these fill what the sandbox has, and no more.
const BOUNDS: Bounds = Bounds { bytes: 1 << 50, entries: 1 << 32 };

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    Pack { path: String, name: String },
    Unpack { path: String, ownership: Ownership },
}

/// Starts a child of init that does `task` with `pipe` and says at `answer` how it went.
pub(crate) fn start(answer: BorrowedFd<'_>, task: &Task, pipe: OwnedFd) -> Result<Pid, Fault> {
    // SAFETY: init has one thread.
    match unsafe { sys::clone_single_threaded(0, None) }.step(|| "fork".to_owned())? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            sys::reset_signals();
            sys::close_all_except(&[answer, pipe.as_fd()]);
            let reply = match task.perform(pipe) {
                Ok(()) => Reply::Transferred,
                Err(error) => Reply::NotTransferred(Failure::of(&error)),
            };
            let sent = send(answer, &reply, &[]);
            sys::exit_now(i32::from(sent.is_err()))
        }
    }
}

impl Task {
    /// Closes the pipe when it is done.
    fn perform(&self, pipe: OwnedFd) -> Result<()> {
        // Whoever made the pipe may wait for it in another way.
        rustix::io::ioctl_fionbio(&pipe, false).map_err(|e| Error::io("cannot use the pipe", e.into()))?;
        let pipe = File::from(pipe);
        match self {
            Self::Pack { path, name } => {
                let source = open_source(path).map_err(|e| cannot_open(path, e))?;
                let options = PackOptions { crossing: Crossing::Stay };
                pack(source.as_fd(), name, pipe, &options).map(drop)
            }
            Self::Unpack { path, ownership } => {
                let into =
                    open(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| cannot_open(path, e))?;
                let options = UnpackOptions {
                    bounds: BOUNDS,
                    ownership: *ownership,
                    whiteouts: Whiteouts::Plain,
                    existing: Existing::Replace,
                };
                unpack(pipe, into.as_fd(), &options).map(drop)
            }
        }
    }
}

/// A link is opened as a link. A FIFO or device that a guest put there does not make this wait.
fn open_source(path: &str) -> Result<OwnedFd, Errno> {
    let found = open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(found);
    }
    open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// Links of /proc lead where no path inside does: to init's own binary and descriptors.
fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = if crate::mutation::off("file-magic-links") {
        ResolveFlags::empty()
    } else {
        ResolveFlags::NO_MAGICLINKS
    };
    rustix::fs::openat2(CWD, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn cannot_open(path: &str, errno: Errno) -> Error {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR => Kind::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Kind::Denied,
        Errno::LOOP | Errno::NAMETOOLONG | Errno::NXIO => Kind::Invalid,
        _ => return Error::io(format!("cannot open {path}"), errno.into()),
    };
    Error::new(kind, format!("cannot open {path}")).with_source(std::io::Error::from(errno))
}
