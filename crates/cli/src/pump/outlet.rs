//! A command's output, on its way to the caller.

use super::{
    channel::{Channel, Step, read_some, wait, write_all},
    stop::Stop,
    watch,
};
use agentkernel_backend::ByteSource;
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    thread,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{mpsc, oneshot},
};

const CHUNK: usize = 64 << 10;

/// Where output ends up.
#[derive(Debug)]
pub(super) enum Sink {
    Fd(OwnedFd),
    /// Kept, up to `limit` bytes.
    Memory {
        bytes: Vec<u8>,
        limit: usize,
    },
}

impl Sink {
    pub(super) const fn memory(limit: usize) -> Self {
        Self::Memory { bytes: Vec::new(), limit }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Fd(_) => Vec::new(),
            Self::Memory { bytes, .. } => bytes,
        }
    }

    fn accept(&mut self, chunk: &[u8]) -> Result<Step> {
        match self {
            Self::Fd(fd) => write_all(fd.as_fd(), chunk).map_err(unwritable),
            Self::Memory { bytes, limit } => {
                if bytes.len() + chunk.len() > *limit {
                    let mib = *limit >> 20;
                    return Err(Error::new(
                        Kind::Exhausted,
                        format!("the command wrote more than {mib} MiB to one stream"),
                    )
                    .with_hint("leave out --json, or let the command write to a file"));
                }
                bytes.extend_from_slice(chunk);
                Ok(Step::Moved)
            }
        }
    }
}

fn unwritable(e: io::Error) -> Error {
    Error::io("cannot pass on the output of the command", e)
}

/// Passes on until `source` ends, or is empty after `stop`, or nobody reads the sink any more; the source is then
/// closed, so that the command meets SIGPIPE. Returns what the sink kept.
///
/// # Errors
/// When the sink cannot be written, or keeps no more.
pub(super) async fn pass_on(source: ByteSource, sink: Sink, stop: Stop) -> Result<Vec<u8>> {
    match source {
        ByteSource::Empty => Ok(sink.into_bytes()),
        ByteSource::Fd(fd) => from_fd(fd, sink, stop).await,
        ByteSource::Stream(stream) => from_stream(stream, sink).await,
    }
}

async fn from_fd(source: OwnedFd, sink: Sink, mut stop: Stop) -> Result<Vec<u8>> {
    let source = match first_byte(source, &mut stop).await? {
        Some(source) => source,
        None => return Ok(sink.into_bytes()),
    };
    on_thread("output", move || copy(&source, sink, &stop)).await
}

/// Waits until there is something to read; `None` when there will never be. No thread is needed for that.
async fn first_byte(source: OwnedFd, stop: &mut Stop) -> Result<Option<OwnedFd>> {
    let watched = match watch::readable(source) {
        Ok(watched) => watched,
        // What cannot be watched is always ready.
        Err(source) => return Ok(Some(source)),
    };
    loop {
        let mut ready = tokio::select! {
            ready = watched.readable() => Some(ready.map_err(unwatchable)?),
            () = stop.happened() => None,
        };
        let now = state(&watched).map_err(unwatchable)?;
        if now.contains(PollFlags::IN) {
            return Ok(Some(watched.into_inner()));
        }
        match &mut ready {
            Some(ready) if now.is_empty() => ready.clear_ready(),
            // At its end, or empty with nobody left to write.
            _ => return Ok(None),
        }
    }
}

fn unwatchable(e: io::Error) -> Error {
    Error::io("cannot watch the output of the command", e)
}

fn state(fd: &impl AsFd) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) => return Ok(fds[0].revents()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn copy(source: &OwnedFd, mut sink: Sink, stop: &Stop) -> Result<Vec<u8>> {
    if let Sink::Fd(fd) = &sink {
        let mut channel = Channel::new(source.as_fd(), fd.as_fd());
        while readable(source, stop).map_err(unwatchable)? {
            match channel.step().map_err(unwritable)? {
                Step::Moved => {}
                Step::Trickled => gather(stop).map_err(unwatchable)?,
                Step::End | Step::SinkClosed => break,
            }
        }
        return Ok(Vec::new());
    }
    let mut buffer = vec![0; CHUNK];
    while readable(source, stop).map_err(unwatchable)? {
        match read_some(source.as_fd(), &mut buffer).map_err(unwatchable)? {
            Some(0) => break,
            Some(length) => sink.accept(&buffer[..length]).map(drop)?,
            None => {}
        }
    }
    Ok(sink.into_bytes())
}

/// Waits for something to read, or for the end; `false` when all was read and nothing is waited for any more.
fn readable(source: &OwnedFd, stop: &Stop) -> io::Result<bool> {
    let mut fds = [PollFd::new(source, PollFlags::IN), PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN)];
    wait(&mut fds)?;
    Ok(!fds[0].revents().is_empty())
}

/// How long small pieces may gather.
const GATHER: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000 };

/// Lets a busy source that writes in small pieces fill its pipe, unless the command ends before: waking up and moving
/// for each piece costs more than the piece. A piece that comes after a pause is never held back.
fn gather(stop: &Stop) -> io::Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&GATHER)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// A stream of the backend's own: read by the runtime, written by a thread, a few chunks apart.
async fn from_stream(mut source: Pin<Box<dyn AsyncRead + Send>>, mut sink: Sink) -> Result<Vec<u8>> {
    let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(4);
    let writer = on_thread("output", move || {
        while let Some(chunk) = chunks.blocking_recv() {
            if sink.accept(&chunk)? == Step::SinkClosed {
                break;
            }
        }
        Ok(sink.into_bytes())
    });
    let reader = async move {
        loop {
            let mut chunk = vec![0; CHUNK];
            let length = source.read(&mut chunk).await.map_err(unwatchable)?;
            chunk.truncate(length);
            if length == 0 || sender.send(chunk).await.is_err() {
                return Ok::<(), Error>(());
            }
        }
    };
    let (read, written) = tokio::join!(reader, writer);
    read.and(written)
}

/// Runs `work` on a thread of its own, which nobody waits for when the caller is dropped.
pub(super) async fn on_thread<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name(what.to_owned())
        .spawn(move || sender.send(work()))
        .map_err(|e| Error::io("cannot start a thread", e))?;
    receiver.await.map_err(|e| Error::internal("a thread of the pump failed").with_source(e))?
}
