//! One descriptor of this side, whose other end is somebody's here, and what waits to go through it.

use super::frame::{MAX_CONTENT, Use};
use crate::wire::MAX_FDS;
use rustix::{
    event::PollFlags,
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
        socketpair,
    },
    pipe::{PipeFlags, pipe_with},
};
use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
};

/// How many bytes may be under way in one direction of a channel.
pub(super) const WINDOW: usize = 64 * 1024;
/// The most descriptors beside one read of a conversation: a command has three streams.
pub(super) const MAX_GIFTS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Bytes,
    /// Descriptors may stand beside the bytes.
    Conversation,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) content: Content,
    /// Whether it is a connection of the sandbox's network.
    pub(super) is_flow: bool,
    fd: OwnedFd,
    /// Whether what comes from the descriptor is still wanted.
    pub(super) source: bool,
    /// Bytes that were read from it, and how many of those the other side has not passed on yet.
    read: u64,
    under_way: usize,
    /// Whether the descriptor still takes what comes from the other side.
    pub(super) sink: bool,
    waiting: Vec<u8>,
    /// No more will come: the sink closes when nothing waits.
    ending: bool,
    /// Go along with the next bytes.
    gifts: Vec<OwnedFd>,
    /// How many ever did.
    given: usize,
}

/// What one read found.
#[derive(Debug)]
pub(super) enum Heard {
    Bytes(usize, Vec<OwnedFd>),
    Nothing,
    End,
}

/// How a flush went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// As many bytes as the descriptor took.
    Some(usize),
    /// Nobody is at the other end.
    Closed,
}

impl Channel {
    /// Takes over a descriptor, which this side uses as `purpose` says.
    pub(super) fn new(fd: OwnedFd, content: Content, purpose: Use) -> Result<Self, Errno> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self {
            content,
            is_flow: false,
            fd,
            source: purpose != Use::Write,
            read: 0,
            under_way: 0,
            sink: purpose != Use::Read,
            waiting: Vec::new(),
            ending: false,
            gifts: Vec::new(),
            given: 0,
        })
    }

    /// A new channel, and the descriptor of it that somebody else uses as `purpose` says.
    pub(super) fn pair(content: Content, purpose: Use) -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) = match purpose {
            Use::Read => pipe_with(PipeFlags::CLOEXEC).map(|(read, write)| (write, read))?,
            Use::Write => pipe_with(PipeFlags::CLOEXEC)?,
            Use::Both => socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?,
        };
        Ok((Self::new(ours, content, purpose.opposite())?, theirs))
    }

    pub(super) fn of_flow(mut self) -> Self {
        self.is_flow = true;
        self
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether nothing more is to come or to be passed on, on either side.
    pub(super) fn is_over(&self) -> bool {
        !self.source && !self.sink && self.under_way == 0
    }

    /// Whether the other side has to pass something on before more can be read.
    pub(super) fn is_held_up(&self) -> bool {
        self.under_way > 0
    }

    /// How many bytes of it the other side will have passed on when it has all that is there now.
    pub(super) fn target(&self) -> u64 {
        let there = if self.source { rustix::io::ioctl_fionread(&self.fd).unwrap_or(0) } else { 0 };
        self.read.saturating_add(there)
    }

    /// How many bytes of it the other side has passed on.
    pub(super) fn passed_on(&self) -> u64 {
        self.read.saturating_sub(self.under_way as u64)
    }

    /// The other side has passed `count` bytes on.
    pub(super) fn credit(&mut self, count: usize) -> Result<(), Errno> {
        self.under_way = self.under_way.checked_sub(count).ok_or(Errno::PROTO)?;
        Ok(())
    }

    /// What is to be waited for; `None` when nothing is. `room` tells whether anything can be sent on.
    pub(super) fn interest(&self, room: bool) -> Option<PollFlags> {
        let mut events = PollFlags::empty();
        if room && self.source && self.under_way < WINDOW {
            events |= PollFlags::IN;
        }
        if self.sink && !self.waiting.is_empty() {
            events |= PollFlags::OUT;
        }
        // A pipe into which nothing is to be written yet still tells when its reader leaves.
        let only_sink = !self.source && self.sink;
        (only_sink || !events.is_empty()).then_some(events)
    }

    /// Reads once, into `to`.
    pub(super) fn read(&mut self, to: &mut [u8]) -> Result<Heard, Errno> {
        let most = (WINDOW - self.under_way).min(to.len()).min(MAX_CONTENT);
        if most == 0 || !self.source {
            return Ok(Heard::Nothing);
        }
        let found = match self.content {
            Content::Bytes => rustix::io::read(&self.fd, &mut to[..most]).map(|count| (count, Vec::new())),
            Content::Conversation => receive(self.fd.as_fd(), &mut to[..most]),
        };
        match found {
            Ok((0, _)) => Ok(Heard::End),
            Ok((count, fds)) => {
                self.under_way += count;
                self.read += count as u64;
                Ok(Heard::Bytes(count, fds))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            // A terminal that nobody holds, a connection that was cut: there is no more.
            Err(
                Errno::IO
                | Errno::CONNRESET
                | Errno::TIMEDOUT
                | Errno::PIPE
                | Errno::HOSTUNREACH
                | Errno::CONNREFUSED,
            ) => Ok(Heard::End),
            Err(errno) => Err(errno),
        }
    }

    /// Takes bytes of the other side, which may not be more than it was allowed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if self.waiting.len() + bytes.len() > WINDOW || self.ending {
            return Err(Errno::PROTO);
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// A conversation is about one thing, which has few descriptors.
    pub(super) fn give(&mut self, fd: OwnedFd) -> Result<(), Errno> {
        if self.given >= MAX_GIFTS || self.content != Content::Conversation {
            return Err(Errno::PROTO);
        }
        self.given += 1;
        self.gifts.push(fd);
        Ok(())
    }

    /// No more bytes will come.
    pub(super) fn end(&mut self) {
        self.ending = true;
        self.close_if_done();
    }

    /// Nothing that comes is wanted any more.
    pub(super) fn close_sink(&mut self) {
        self.sink = false;
        self.waiting = Vec::new();
        self.gifts.clear();
    }

    /// What the descriptor gives is not wanted any more: whoever writes there is told.
    pub(super) fn close_source(&mut self) {
        self.source = false;
        self.under_way = 0;
        // Only sockets have halves; a pipe is closed with the channel.
        let _ = shutdown(&self.fd, Shutdown::Read);
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> Flushed {
        let mut taken = 0;
        while self.sink && taken < self.waiting.len() {
            let rest = &self.waiting[taken..];
            let written = match self.content {
                Content::Bytes => rustix::io::write(&self.fd, rest),
                Content::Conversation => send(self.fd.as_fd(), rest, &mut self.gifts),
            };
            match written {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(count) => taken += count,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.close_sink();
                    return Flushed::Closed;
                }
            }
        }
        self.waiting.drain(..taken);
        self.close_if_done();
        Flushed::Some(taken)
    }

    fn close_if_done(&mut self) {
        if self.ending && self.sink && self.waiting.is_empty() {
            self.sink = false;
            let _ = shutdown(&self.fd, Shutdown::Write);
        }
    }
}

fn receive(socket: BorrowedFd<'_>, to: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(to)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    if fds.len() > MAX_GIFTS { Err(Errno::PROTO) } else { Ok((received.bytes, fds)) }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], gifts: &mut Vec<OwnedFd>) -> Result<usize, Errno> {
    let fds: Vec<BorrowedFd<'_>> = gifts.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_GIFTS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::TOOBIG);
    }
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    gifts.clear();
    Ok(sent)
}

/// How `fd`, which somebody passed on, can be used.
pub(super) fn purpose(fd: &OwnedFd) -> Result<Use, Errno> {
    use rustix::fs::OFlags;
    match rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE {
        OFlags::RDONLY => Ok(Use::Read),
        OFlags::WRONLY => Ok(Use::Write),
        _ => Ok(Use::Both),
    }
}
