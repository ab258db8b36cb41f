//! The sandbox's side of a connection: what passes is counted, and nobody waits for it for ever.

use super::Timeouts;
use crate::observer::Ledger;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Bytes that a connection has passed, for a ledger that does not live as long as the connection's parts may.
pub(super) struct Tally<'a> {
    ledger: &'a Ledger,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl<'a> Tally<'a> {
    pub(super) fn new(ledger: &'a Ledger) -> Self {
        Self { ledger, counts: Arc::default() }
    }

    pub(super) fn count<S>(&self, io: S) -> Counted<S> {
        Counted { io, counts: Arc::clone(&self.counts) }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.ledger.sent.add(self.counts.sent.load(Ordering::Relaxed));
        self.ledger.received.add(self.counts.received.load(Ordering::Relaxed));
    }
}

/// Counts what passes.
pub(super) struct Counted<S> {
    io: S,
    counts: Arc<Counts>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.counts.sent.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.counts.received.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.counts.received.fetch_add(count, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Whether requests are being answered on a connection, and since when none is.
pub(super) struct Activity {
    busy: AtomicUsize,
    rest: Mutex<Rest>,
}

#[derive(Clone, Copy)]
struct Rest {
    since: Instant,
    /// How many requests were answered before it.
    after: u64,
}

/// One request that is being answered.
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let rest = Mutex::new(Rest { since: Instant::now(), after: 0 });
        Arc::new(Self { busy: AtomicUsize::new(0), rest })
    }

    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// `None` while a request is answered.
    fn rest(&self) -> Option<Rest> {
        let rest = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        (self.busy.load(Ordering::Acquire) == 0).then_some(rest)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut rest = self.0.rest.lock().unwrap_or_else(PoisonError::into_inner);
        *rest = Rest { since: Instant::now(), after: rest.after.wrapping_add(1) };
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How the beginning of a request is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heads {
    /// By its first byte (HTTP/1).
    Bytes,
    /// Not: there are bytes that belong to none (HTTP/2).
    Unseen,
}

/// Ends a connection that is silent between requests for too long, as if the sandbox had ended it; and one whose next request
/// does not become whole, with [`io::ErrorKind::TimedOut`].
pub(super) struct Patient<S> {
    io: S,
    activity: Arc<Activity>,
    timeouts: Timeouts,
    heads: Heads,
    /// When the first byte of a request came, and after how many others.
    begun: Option<(u64, Instant)>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(io: S, activity: Arc<Activity>, timeouts: Timeouts, heads: Heads) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + timeouts.head));
        Self { io, activity, timeouts, heads, begun: None, timer }
    }

    /// When the sandbox has had its time; `None` while it is not its turn.
    fn deadline(&self) -> Option<Instant> {
        let rest = self.activity.rest()?;
        Some(match self.begun {
            Some((after, at)) if after == rest.after => at + self.timeouts.head,
            // Whoever connects has something to say.
            _ if rest.after == 0 => rest.since + self.timeouts.head,
            _ => rest.since + self.timeouts.idle,
        })
    }

    fn given_up(&self) -> io::Result<()> {
        let rest = self.activity.rest();
        match (rest, self.begun) {
            (Some(rest), Some((after, _))) if after == rest.after => Err(io::ErrorKind::TimedOut.into()),
            (Some(rest), _) if rest.after == 0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    fn saw_bytes(&mut self) {
        let Some(rest) = self.activity.rest().filter(|_| self.heads == Heads::Bytes) else { return };
        if self.begun.is_none_or(|(after, _)| after != rest.after) {
            let now = Instant::now();
            self.begun = Some((rest.after, now));
            self.timer.as_mut().reset(now + self.timeouts.head);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(result) = Pin::new(&mut self.io).poll_read(cx, buf) {
            self.saw_bytes();
            return Poll::Ready(result);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let next = match self.deadline() {
                Some(deadline) if deadline <= now => return Poll::Ready(self.given_up()),
                Some(deadline) => deadline,
                None => now + self.timeouts.idle,
            };
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }
}

writes_through!(Patient<S>);
