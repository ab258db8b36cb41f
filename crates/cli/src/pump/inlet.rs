//! The caller's stdin, on its way to a command.

use super::{
    Detach, InputFrom,
    channel::{Channel, Step, read_some, wait, write_all},
    detach::{Keys, Seen},
    outlet::on_thread,
    stop::Stop,
    watch,
};
use agentkernel_backend::ByteSink;
use agentkernel_model::Result;
use rustix::event::{PollFd, PollFlags};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

/// End of input as a terminal says it (ctrl-d).
const END_OF_TRANSMISSION: u8 = 4;

const CHUNK: usize = 64 << 10;

/// Why input is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// The caller has no more, or the command wants no more.
    Over,
    /// The caller pressed the detach keys.
    Detached,
}

/// Feeds `sink` from `stdin` until either ends. Input that cannot be read has ended; it is no fault of the command's.
pub(super) async fn feed(stdin: OwnedFd, sink: ByteSink, from: InputFrom, mut stop: Stop) -> InputEnd {
    let sink = match sink {
        ByteSink::Closed => return InputEnd::Over,
        other => other,
    };
    let Some(stdin) = first_byte(stdin, &mut stop).await else { return InputEnd::Over };
    let fed = match sink {
        ByteSink::Fd(fd) => on_thread("input", move || Ok(to_fd(&stdin, &fd, from, &stop))).await,
        ByteSink::Stream(stream) => to_stream(stdin, stream, from, stop).await,
        ByteSink::Closed => Ok(Ok(InputEnd::Over)),
    };
    fed.ok().and_then(io::Result::ok).unwrap_or(InputEnd::Over)
}

/// Waits until stdin has something to say; `None` when the command has ended before. A regular file always has.
async fn first_byte(stdin: OwnedFd, stop: &mut Stop) -> Option<OwnedFd> {
    let watched = match watch::readable(stdin) {
        Ok(watched) => watched,
        Err(stdin) => return Some(stdin),
    };
    tokio::select! {
        ready = watched.readable() => drop(ready.ok()?),
        () = stop.happened() => return None,
    }
    Some(watched.into_inner())
}

fn to_fd(stdin: &OwnedFd, sink: &OwnedFd, from: InputFrom, stop: &Stop) -> io::Result<InputEnd> {
    if let InputFrom::Terminal(detach) = from {
        let mut filter = Filter::new(detach);
        while wanted(stdin, Some(sink), stop)? {
            let end = filter.step(stdin, |bytes| Ok(write_all(sink.as_fd(), bytes)? == Step::Moved))?;
            if let Some(end) = end {
                return Ok(end);
            }
        }
        return Ok(InputEnd::Over);
    }
    let mut channel = Channel::new(stdin.as_fd(), sink.as_fd());
    while wanted(stdin, Some(sink), stop)? {
        if !matches!(channel.step()?, Step::Moved | Step::Trickled) {
            break;
        }
    }
    Ok(InputEnd::Over)
}

/// Waits for input; `false` when nobody reads it any more. Input that the command does not take is left to the caller.
fn wanted(stdin: &OwnedFd, sink: Option<&OwnedFd>, stop: &Stop) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(stdin, PollFlags::IN), PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN)];
    if let Some(sink) = sink {
        // No event is asked for: an error is reported without.
        fds.push(PollFd::new(sink, PollFlags::empty()));
    }
    wait(&mut fds)?;
    Ok(fds[1..].iter().all(|fd| fd.revents().is_empty()))
}

/// What a terminal's input passes through.
struct Filter {
    keys: Option<Keys>,
    buffer: Vec<u8>,
}

impl Filter {
    fn new(detach: Detach) -> Self {
        let keys = match detach {
            Detach::OnKeys => Some(Keys::default()),
            Detach::Never => None,
        };
        Self { keys, buffer: vec![0; CHUNK] }
    }

    /// Moves one chunk; `Some` when input is over. `write` says whether there will be a next time.
    fn step(
        &mut self,
        stdin: &OwnedFd,
        mut write: impl FnMut(&[u8]) -> io::Result<bool>,
    ) -> io::Result<Option<InputEnd>> {
        let Some(length) = read_some(stdin.as_fd(), &mut self.buffer)? else { return Ok(None) };
        if length == 0 {
            write(&[END_OF_TRANSMISSION])?;
            return Ok(Some(InputEnd::Over));
        }
        let chunk = &self.buffer[..length];
        let seen = match &mut self.keys {
            Some(keys) => keys.pass(chunk),
            None => Seen::Bytes(chunk.to_vec()),
        };
        let (bytes, end) = match seen {
            Seen::Bytes(bytes) => (bytes, None),
            Seen::Detach(bytes) => (bytes, Some(InputEnd::Detached)),
        };
        let open = bytes.is_empty() || write(&bytes)?;
        Ok(end.or_else(|| (!open).then_some(InputEnd::Over)))
    }
}

/// A stream of the backend's own: read by a thread, written by the runtime, a few chunks apart.
async fn to_stream(
    stdin: OwnedFd,
    mut sink: Pin<Box<dyn AsyncWrite + Send>>,
    from: InputFrom,
    stop: Stop,
) -> Result<io::Result<InputEnd>> {
    let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(4);
    let reader = on_thread("input", move || Ok(read_chunks(&stdin, from, &stop, &sender)));
    let writer = async move {
        while let Some(chunk) = chunks.recv().await {
            if sink.write_all(&chunk).await.is_err() || sink.flush().await.is_err() {
                return;
            }
        }
        // The other side may be gone, which ends its input as well.
        let _ = sink.shutdown().await;
    };
    let (read, ()) = tokio::join!(reader, writer);
    read
}

fn read_chunks(
    stdin: &OwnedFd,
    from: InputFrom,
    stop: &Stop,
    sender: &mpsc::Sender<Vec<u8>>,
) -> io::Result<InputEnd> {
    let send = |bytes: &[u8]| Ok(sender.blocking_send(bytes.to_vec()).is_ok());
    if let InputFrom::Terminal(detach) = from {
        let mut filter = Filter::new(detach);
        while wanted(stdin, None, stop)? {
            if let Some(end) = filter.step(stdin, send)? {
                return Ok(end);
            }
        }
        return Ok(InputEnd::Over);
    }
    let mut buffer = vec![0; CHUNK];
    while wanted(stdin, None, stop)? {
        match read_some(stdin.as_fd(), &mut buffer)? {
            Some(0) => break,
            Some(length) if !send(&buffer[..length])? => break,
            _ => {}
        }
    }
    Ok(InputEnd::Over)
}
