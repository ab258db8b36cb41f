//! The line between a runner and whoever started it: a stream socket with frames of JSON, and descriptors beside the first
//! byte of a frame.

use agentkernel_model::{Error, Result};
use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, Shutdown,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net,
    },
    sync::Arc,
};
use tokio::{io::Interest, net::UnixStream};

/// The longest frame: a command line and an environment of the most that Linux takes, the files of a spec, and what JSON
/// adds to them.
const MAX_FRAME: usize = 16 << 20;
/// The most descriptors beside one frame: the streams of a command.
const MAX_FDS: usize = 3;
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// One end. Dropping it ends the conversation for both sides, whoever else holds the socket.
#[derive(Debug)]
pub(super) struct Line {
    socket: Arc<UnixStream>,
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Drop for Line {
    fn drop(&mut self) {
        // An error means that the other side is gone already.
        let _ = rustix::net::shutdown(&*self.socket, Shutdown::Both);
    }
}

impl Line {
    /// Must be called within the runtime.
    pub(super) fn new(socket: net::UnixStream) -> Result<Self> {
        let socket = socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket));
        let socket = socket.map_err(|e| Error::io("cannot watch the line of a runner", e))?;
        Ok(Self { socket: Arc::new(socket), bytes: Vec::new(), fds: VecDeque::new() })
    }

    /// For whoever sends besides the one who has the line.
    pub(super) fn socket(&self) -> Arc<UnixStream> {
        Arc::clone(&self.socket)
    }

    /// Whether the other side is there and has said nothing that was not read.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = rustix::net::recv(&*self.socket, &mut byte[..], flags);
        self.bytes.is_empty() && matches!(seen, Err(Errno::AGAIN))
    }

    /// Sends `message`, and copies of `fds` beside it.
    ///
    /// # Errors
    /// When the other side is gone; [`Kind::Invalid`](agentkernel_model::Kind::Invalid) for more than a frame holds.
    pub(super) async fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let frame = frame(message)?;
        let mut sent = 0;
        while sent < frame.len() {
            let beside = if sent == 0 { fds } else { &[] };
            let write = || Ok(send_some(self.socket.as_fd(), &frame[sent..], beside)?);
            sent += self.socket.async_io(Interest::WRITABLE, write).await.map_err(cut)?;
        }
        Ok(())
    }

    /// The next message; `None` when the other side is gone. Cancelling loses nothing.
    ///
    /// # Errors
    /// For what is too long, is cut off, or is no message.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(message) = self.pop()? {
                return Ok(Some(message));
            }
            let socket = Arc::clone(&self.socket);
            let read = socket.async_io(Interest::READABLE, || Ok(self.fill()?)).await;
            match read {
                Ok(0) if self.bytes.is_empty() => return Ok(None),
                Ok(0) => return Err(misunderstood()),
                Ok(_) => {}
                // What a side leaves that ended without reading all.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(cut(e)),
            }
        }
    }

    /// The oldest descriptor that came and was not taken yet.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn take_fd(&mut self) -> Result<OwnedFd> {
        self.fds.pop_front().ok_or_else(misunderstood)
    }

    /// Reads once.
    fn fill(&mut self) -> rustix::io::Result<usize> {
        let mut chunk = [0; CHUNK];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(&mut chunk)];
        let received = rustix::net::recvmsg(&*self.socket, &mut into, &mut control, CLOSED_ON_EXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                for fd in fds {
                    close_on_exec(&fd)?;
                    self.fds.push_back(fd);
                }
            }
        }
        if self.fds.len() > MAX_FDS {
            return Err(Errno::TOOBIG);
        }
        self.bytes.extend_from_slice(&chunk[..received.bytes]);
        Ok(received.bytes)
    }

    fn pop<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(header) = self.bytes.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(misunderstood());
        }
        let Some(text) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let message = serde_json::from_slice(text).map_err(|e| misunderstood().with_source(e))?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(target_os = "linux")]
const CLOSED_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const CLOSED_ON_EXEC: RecvFlags = RecvFlags::empty();

/// A side that is gone is an error, whatever this process does with the signal.
#[cfg(target_os = "linux")]
const QUIETLY: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const QUIETLY: SendFlags = SendFlags::empty();

/// Where the system cannot do so as it hands them over.
fn close_on_exec(fd: &OwnedFd) -> rustix::io::Result<()> {
    if cfg!(target_os = "linux") {
        return Ok(());
    }
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)
}

/// Writes once; how many bytes went.
fn send_some(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOBIG);
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, QUIETLY)
}

/// Sends a short `message`, and copies of `fds` beside it, now or not at all.
///
/// # Errors
/// When the other side is gone, or does not listen.
pub(super) fn send_now(
    socket: &UnixStream,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Failure> {
    let frame = frame(message).map_err(Failure::Deaf)?;
    match send_some(socket.as_fd(), &frame, fds) {
        Ok(sent) if sent == frame.len() => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(Failure::Gone),
        Ok(_) | Err(Errno::AGAIN) => Err(Failure::Deaf(Error::internal("a runner does not listen"))),
        Err(errno) => Err(Failure::Deaf(cut(errno.into()))),
    }
}

/// Why something was not sent.
#[derive(Debug)]
pub(super) enum Failure {
    /// The other side is gone.
    Gone,
    Deaf(Error),
}

/// `message` as it goes over a line.
pub(super) fn frame(message: &impl Serialize) -> Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)
        .map_err(|e| Error::invalid("what is to run has no form as text").with_source(e))?;
    let length = u32::try_from(frame.len() - 4).ok().filter(|_| frame.len() - 4 <= MAX_FRAME);
    let length = length.ok_or_else(|| {
        Error::invalid("the command and its sandbox take more than 16 MiB to describe")
            .with_hint("pass what is large through stdin or a mount")
    })?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

fn cut(error: io::Error) -> Error {
    Error::io("cannot talk over the line of a runner", error)
}

fn misunderstood() -> Error {
    Error::internal("what came over the line of a runner cannot be understood")
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
