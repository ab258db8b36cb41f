//! The conversation between the host side and a sandbox's init: length-prefixed JSON over a Unix stream socket, with
//! descriptors beside the first byte of a frame.
//!
//! Both ends are the same binary or two versions of it, so [`VERSION`] goes first. Init reads from the host only, and
//! the host reads from an init that no guest can reach; both bound what they read all the same.

use agentkernel_backend::{FileKind, FileList};
use agentkernel_model::{Error, Kind, text::printable};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
};

/// Raised when a message changes its meaning; init answers [`Reply::Version`] to any other.
pub const VERSION: u32 = 2;
/// The longest frame: a command line and environment of Linux's own maximum (2 MiB) and JSON's escapes.
const MAX_FRAME: usize = 8 << 20;
/// The most descriptors beside one frame (the kernel's `SCM_MAX_FD` is 253).
pub const MAX_FDS: usize = 200;

/// What the host asks of init.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first message to a new init: its users are mapped. Descriptors of `groups` control groups to join come
    /// along, and the trees of its root where init cannot open them itself.
    Begin {
        groups: usize,
    },
    Hello {
        version: u32,
    },
    /// Starts a command; its pipe ends come along: stdin, stdout, stderr, or none for a terminal.
    Exec(Exec),
    /// Tell when the command that this connection starts was executed, unless its end is told first.
    TellStart,
    /// To the command that this connection started.
    Signal(i32),
    /// The same, to its whole process group.
    SignalGroup(i32),
    Resize {
        rows: u16,
        columns: u16,
    },
    /// Ends every process: SIGTERM, and SIGKILL after the grace; then the sandbox is gone.
    Stop {
        grace_ms: u64,
    },
    /// A TCP socket of the sandbox's network, connecting to this port of its loopback.
    Dial {
        port: u16,
    },
    /// A regular file, opened for reading by a process inside.
    Open {
        path: String,
    },
    /// A regular file's new content, whose pipe comes along; `mode` is for a file that is new.
    Write {
        path: String,
        mode: u32,
    },
    /// What is at this path.
    Look {
        path: String,
    },
    /// A regular file's new content, which takes the place of the old when it is whole; the pipe that it comes through, in
    /// [`chunks`](crate::transfer), comes along.
    Store {
        path: String,
        mode: u32,
    },
    /// One file or link is removed.
    Remove {
        path: String,
    },
    /// What is in this directory.
    List {
        path: String,
    },
    /// What is at `path` as an archive, whose entries are called `name`; the pipe that it goes to comes along.
    Pack {
        path: String,
        name: String,
    },
    /// An archive into the directory `path`; the pipe that it comes from comes along.
    Unpack {
        path: String,
    },
}

/// A command as init starts it: resolved, nothing left to look up but the program in PATH.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    pub argv: Vec<String>,
    /// `KEY=VALUE`, the whole environment.
    pub env: Vec<String>,
    pub workdir: String,
    pub uid: u32,
    pub gid: u32,
    /// Rows and columns of a terminal of its own.
    pub terminal: Option<(u16, u16)>,
}

impl Exec {
    /// No command: for conversations that are about something else.
    pub const fn none() -> Self {
        Self { argv: Vec::new(), env: Vec::new(), workdir: String::new(), uid: 0, gid: 0, terminal: None }
    }
}

/// What init answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Version {
        version: u32,
    },
    /// The sandbox is complete; listeners of its network come along where it has one.
    Up {
        network: bool,
    },
    /// The sandbox could not be made.
    Failed(Fault),
    /// The command has a terminal, whose controlling end comes along.
    Terminal,
    /// The command was executed, and has this number inside.
    Started {
        pid: u32,
    },
    /// The command could not be started.
    NotStarted(StartFault),
    Exited {
        code: i32,
    },
    Signaled {
        number: i32,
        /// Process 1 saw the kernel end processes of its control group for want of memory.
        #[serde(default)]
        out_of_memory: bool,
    },
    /// The socket or file that was asked for comes along.
    Opened,
    Refused(Fault),
    Looked {
        kind: Option<FileKind>,
    },
    Removed,
    Listed(FileList),
    /// The archive was written, or read to its end; or the file was written.
    Transferred,
    NotTransferred(Failure),
}

/// A step that failed, and the kernel's reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    pub what: String,
    pub errno: i32,
}

impl Fault {
    pub fn new(what: impl Into<String>, errno: Errno) -> Self {
        Self { what: what.into(), errno: errno.raw_os_error() }
    }

    pub fn io_error(&self) -> std::io::Error {
        std::io::Error::from_raw_os_error(self.errno)
    }
}

/// Why a command did not start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StartFault {
    NotFound,
    NotRunnable(i32),
    Workdir(i32),
    Other(Fault),
}

/// An error of the model, as far as it goes over a socket.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    kind: String,
    message: String,
}

impl Failure {
    /// Characters of a message, at most: names that guests chose are in it.
    const MAX_MESSAGE: usize = 2000;

    pub fn of(error: &Error) -> Self {
        let message = printable(&error.to_string()).chars().take(Self::MAX_MESSAGE).collect();
        Self { kind: error.kind().as_str().to_owned(), message }
    }

    /// The error, as what failed to be done.
    pub fn into_error(self, what: &str) -> Error {
        // Whoever sent it was inside.
        let text: String = printable(&self.message).chars().take(Self::MAX_MESSAGE).collect();
        Error::new(Kind::from_spelling(&self.kind).unwrap_or(Kind::Internal), format!("{what}: {text}"))
    }
}

/// One message as it goes over a socket.
///
/// # Errors
/// `MSGSIZE` for more than a frame holds.
pub fn frame(message: &impl Serialize) -> Result<Vec<u8>, Errno> {
    let json = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    let length = u32::try_from(json.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut frame = Vec::with_capacity(json.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&json);
    Ok(frame)
}

/// Writes one frame with `fds` beside it.
pub fn send(socket: BorrowedFd<'_>, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let frame = frame(message)?;
    let mut rest = frame.as_slice();
    let mut fds = fds;
    while !rest.is_empty() {
        match send_some(socket, rest, fds) {
            Ok(sent) => {
                rest = &rest[sent..];
                fds = &[];
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(socket)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes once, `fds` beside the first byte; how many bytes went.
pub fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

fn wait_writable(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, poll};
    // A peer that reads nothing for this long is stuck, and must not make this side so.
    let limit = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], Some(&limit)) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The reading half of a conversation: bytes and descriptors that arrived and are no whole frame yet.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

/// What one [`Inbox::fill`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Filled {
    Some,
    /// The other side is gone.
    End,
}

impl Inbox {
    /// Reads once. `Err(AGAIN)` when a non-blocking socket has nothing.
    pub fn fill(&mut self, socket: impl AsFd) -> Result<Filled, Errno> {
        let mut chunk = [0_u8; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [IoSliceMut::new(&mut chunk)];
        let received = loop {
            match recvmsg(socket.as_fd(), &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if received.bytes == 0 {
            return Ok(Filled::End);
        }
        self.bytes.extend_from_slice(&chunk[..received.bytes]);
        if self.bytes.len() > MAX_FRAME + 4 || self.fds.len() > 4 * MAX_FDS {
            return Err(Errno::MSGSIZE);
        }
        Ok(Filled::Some)
    }

    /// The next whole frame, if there is one.
    pub fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Errno> {
        let Some(header) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(Errno::MSGSIZE);
        }
        let Some(json) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let message = serde_json::from_slice(json).map_err(|_| Errno::PROTO)?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }

    /// The oldest descriptor that came along and was not taken yet.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Reads until there is a whole frame, on a blocking socket. `None` when the other side is gone.
    pub fn recv<T: DeserializeOwned>(&mut self, socket: impl AsFd) -> Result<Option<T>, Errno> {
        loop {
            if let Some(message) = self.pop()? {
                return Ok(Some(message));
            }
            if self.fill(&socket)? == Filled::End {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
