//! The host's end of a connection to init, for async callers.

use crate::wire::{self, Filled, Inbox, Reply, Request, send};
use agentkernel_model::{Error, Result};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};
use serde::Serialize;
use std::sync::Mutex;
use tokio::io::unix::AsyncFd;

/// Requests go out at any time from anywhere; replies are awaited by one task.
#[derive(Debug)]
pub struct Conversation {
    socket: AsyncFd<OwnedFd>,
    inbox: Mutex<Inbox>,
}

impl Conversation {
    /// Takes a connected socket over; must be called inside a tokio runtime.
    pub fn new(socket: OwnedFd) -> Result<Self> {
        let watch = |e| Error::io("cannot watch the sandbox's control socket", e);
        rustix::io::ioctl_fionbio(&socket, true).map_err(|e| watch(e.into()))?;
        Ok(Self { socket: crate::sys::watch(socket).map_err(watch)?, inbox: Mutex::default() })
    }

    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        send(self.socket.get_ref().as_fd(), request, fds).map_err(gone)
    }

    /// The same for what may be long: waits until the other side has room, where [`Conversation::send`] would keep the
    /// whole event loop waiting, and with it whoever makes that room.
    pub async fn send_whole(&self, message: &(impl Serialize + Sync), fds: &[BorrowedFd<'_>]) -> Result<()> {
        let frame = wire::frame(message).map_err(gone)?;
        let (mut rest, mut fds) = (frame.as_slice(), fds);
        while !rest.is_empty() {
            let ready = self.socket.writable().await;
            let mut ready = ready.map_err(|e| Error::io("cannot wait for the sandbox", e))?;
            match ready.try_io(|socket| Ok(wire::send_some(socket.get_ref().as_fd(), rest, fds)?)) {
                Ok(Ok(sent)) => {
                    rest = &rest[sent..];
                    fds = &[];
                }
                Ok(Err(e)) => return Err(gone(Errno::from_io_error(&e).unwrap_or(Errno::IO))),
                Err(_not_yet) => {}
            }
        }
        Ok(())
    }

    /// The next reply; `None` when init is gone. Cancel safe.
    pub async fn recv(&self) -> Result<Option<Reply>> {
        loop {
            if let Some(reply) = self.lock().pop().map_err(gone)? {
                return Ok(Some(reply));
            }
            let mut ready =
                self.socket.readable().await.map_err(|e| Error::io("cannot wait for the sandbox", e))?;
            let filled = ready.try_io(|socket| Ok(self.lock().fill(socket.get_ref())?));
            match filled {
                Ok(Ok(Filled::Some)) | Err(_) => {}
                Ok(Ok(Filled::End)) => return Ok(None),
                // A peer that died with our bytes unread resets the connection.
                Ok(Err(e)) if e.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
                Ok(Err(e)) => return Err(Error::io("cannot read from the sandbox", e)),
            }
        }
    }

    /// A descriptor that came with the last reply.
    pub fn take_fd(&self) -> Result<OwnedFd> {
        self.lock().take_fd().ok_or_else(|| Error::internal("the sandbox sent no descriptor"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn gone(errno: Errno) -> Error {
    Error::new(agentkernel_model::Kind::Conflict, "the sandbox is not running any more")
        .with_source(std::io::Error::from(errno))
}
