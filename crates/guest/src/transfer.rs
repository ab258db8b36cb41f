//! Archives in and out of a sandbox, and files into it: a child of init does it, behind init's own walls. It ends with the
//! sandbox, and blocks nobody.

use crate::{
    entries::Incoming,
    fault::Step,
    files,
    sys::{self, Forked},
    wire::{Failure, Fault, Reply, send},
};
use agentkernel_archive::{
    Bounds, Crossing, Existing, Ownership, PackOptions, UnpackOptions, Whiteouts, pack, unpack,
};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags},
    io::Errno,
    process::Pid,
};
use std::{
    fs::File,
    io::{Read as _, Write as _},
};

/// Far beyond what a disk holds: like the files of a command, these fill what the sandbox has, and no more.
const BOUNDS: Bounds = Bounds { bytes: 1 << 50, entries: 1 << 32 };

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    Pack { path: String, name: String },
    Unpack { path: String, ownership: Ownership },
    Write { path: String, mode: u32 },
    Store { path: String, mode: u32 },
}

/// Starts a child of init that does `task` with `pipe` and says at `answer` how it went.
pub(crate) fn start(answer: BorrowedFd<'_>, task: &Task, pipe: OwnedFd) -> Result<Pid, Fault> {
    let _held = sys::hold_signals().step(|| "hold signals".to_owned())?;
    // SAFETY: init has one thread.
    match unsafe { sys::clone_single_threaded(0, None) }.step(|| "fork".to_owned())? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => {
            sys::reset_signals();
            sys::close_all_except(&[answer, pipe.as_fd()]);
            let sent = send(answer, &task.perform(pipe), &[]);
            sys::exit_now(i32::from(sent.is_err()))
        }
    }
}

impl Task {
    /// Closes the pipe when it is done.
    fn perform(&self, pipe: OwnedFd) -> Reply {
        // Whoever made the pipe may wait for it in another way.
        let pipe = match rustix::io::ioctl_fionbio(&pipe, false) {
            Ok(()) => File::from(pipe),
            Err(errno) => return Reply::Refused(Fault::new("use the pipe", errno)),
        };
        let done = match self {
            Self::Write { path, mode } => match files::create(path, *mode) {
                Ok(file) => write(pipe, file),
                Err(fault) => return Reply::Refused(fault),
            },
            Self::Store { path, mode } => match Incoming::begin(&files::open_inside, path, *mode) {
                Ok(incoming) => store(pipe, incoming),
                Err(errno) => return Reply::Refused(Fault::new(format!("write {path}"), errno)),
            },
            Self::Pack { path, name } => packed(path, name, pipe),
            Self::Unpack { path, ownership } => unpacked(path, *ownership, pipe),
        };
        match done {
            Ok(()) => Reply::Transferred,
            Err(error) => Reply::NotTransferred(Failure::of(&error)),
        }
    }
}

fn write(mut content: File, file: OwnedFd) -> Result<()> {
    let failed = |e| Error::io("cannot write the file", e);
    let mut file = File::from(file);
    let mut buffer = vec![0; 64 * 1024];
    // Not std::io::copy: it would splice, and gVisor's splice takes a pipe that is empty for one that has ended.
    loop {
        match content.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            count => file.write_all(&buffer[..count]).map_err(failed)?,
        }
    }
}

/// The longest chunk of a file that is stored.
pub(crate) const MAX_CHUNK: usize = 64 * 1024;

/// The content comes in chunks, a length of four bytes before each, and ends with one of length 0: a pipe that ends
/// without it is a caller who left.
fn store(mut content: File, mut incoming: Incoming) -> Result<()> {
    let failed = |e| Error::io("cannot write the file", e);
    let mut buffer = vec![0; MAX_CHUNK];
    loop {
        let mut length = [0; 4];
        content.read_exact(&mut length).map_err(failed)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            return incoming.commit().map_err(failed);
        }
        let chunk = buffer.get_mut(..length).ok_or_else(|| Error::internal("a chunk is too long"))?;
        content.read_exact(chunk).map_err(failed)?;
        incoming.file().write_all(chunk).map_err(failed)?;
    }
}

fn packed(path: &str, name: &str, to: File) -> Result<()> {
    let source = open_source(path).map_err(|e| cannot_open(path, e))?;
    pack(source.as_fd(), name, to, &PackOptions { crossing: Crossing::Stay }).map(drop)
}

fn unpacked(path: &str, ownership: Ownership, from: File) -> Result<()> {
    let into = open(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(|e| cannot_open(path, e))?;
    let options =
        UnpackOptions { bounds: BOUNDS, ownership, whiteouts: Whiteouts::Plain, existing: Existing::Replace };
    unpack(from, into.as_fd(), &options).map(drop)
}

/// A link is opened as a link. A FIFO or device that a guest put there does not make this wait.
fn open_source(path: &str) -> Result<OwnedFd, Errno> {
    let found = open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(found);
    }
    open(path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY)
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    files::open_inside(path, flags, Mode::empty())
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
