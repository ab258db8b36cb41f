//! Reads beneath TLS as large as what is there.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// Sixteen records of the largest kind, and what is around them: each call wakes who sends, and costs more by that than by
/// what it copies.
const WIDE: usize = 264 * 1024;

/// Reads ahead while much comes. TLS asks for the rest of one record at a time whatever there is, in a call of its own. While
/// little comes nothing is held.
pub(super) struct Ahead<S> {
    io: S,
    /// Empty, or [`WIDE`].
    buffer: Vec<u8>,
    /// What of it was read and not given yet.
    at: usize,
    end: usize,
    budget: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<S> Ahead<S> {
    /// `budget` has as many permits as there may be wide buffers at once. Without one, reads are as TLS wants them.
    pub(super) const fn new(io: S, budget: Arc<Semaphore>) -> Self {
        Self { io, buffer: Vec::new(), at: 0, end: 0, budget, permit: None }
    }

    pub(super) const fn is_wide(&self) -> bool {
        self.permit.is_some()
    }

    fn widen(&mut self) {
        self.permit = Arc::clone(&self.budget).try_acquire_owned().ok();
        if self.permit.is_some() {
            self.buffer = vec![0; WIDE];
        }
    }

    fn narrow(&mut self) {
        (self.buffer, self.permit) = (Vec::new(), None);
    }
}

impl<S: AsyncRead + Unpin> Ahead<S> {
    /// Fills the wide buffer.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut room = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut room);
        (self.at, self.end) = (0, room.filled().len());
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.buffer.is_empty() {
            let room = buf.remaining();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            if room > 0 && buf.remaining() == 0 {
                this.widen();
            }
            return Poll::Ready(Ok(()));
        }
        if this.at == this.end {
            match this.poll_fill(cx) {
                Poll::Ready(Ok(())) if this.end > 0 => {}
                // Nothing is there: it is quiet, or over.
                other => {
                    this.narrow();
                    return other;
                }
            }
        }
        let count = buf.remaining().min(this.end - this.at);
        buf.put_slice(&this.buffer[this.at..this.at + count]);
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

writes_through!(Ahead<S>);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    /// What TLS asks for at a time.
    const ASKED: usize = 4096;
    const PLENTY: usize = 3 * WIDE + 100;

    fn pattern() -> Vec<u8> {
        (0..PLENTY).map(|place| (place % 251) as u8).collect()
    }

    /// Of a stream with more than enough in it, and its other end.
    async fn full(budget: &Arc<Semaphore>) -> (Ahead<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = duplex(PLENTY);
        theirs.write_all(&pattern()).await.unwrap();
        (Ahead::new(ours, Arc::clone(budget)), theirs)
    }

    async fn read(from: &mut Ahead<DuplexStream>, into: &mut Vec<u8>) -> usize {
        let mut piece = [0; ASKED];
        let count = from.read(&mut piece).await.unwrap();
        into.extend_from_slice(&piece[..count]);
        count
    }

    #[tokio::test]
    async fn all_comes_in_order_and_nothing_is_held_once_it_is_quiet() {
        let budget = Arc::new(Semaphore::new(1));
        let (mut ahead, mut theirs) = full(&budget).await;
        let mut seen = Vec::new();
        read(&mut ahead, &mut seen).await;
        read(&mut ahead, &mut seen).await;
        assert_eq!((ahead.buffer.len(), budget.available_permits()), (WIDE, 0), "much comes");
        while seen.len() < PLENTY {
            read(&mut ahead, &mut seen).await;
        }
        assert_eq!(seen, pattern());
        let mut piece = [0; ASKED];
        tokio::select! {
            biased;
            _ = ahead.read(&mut piece) => panic!("there is nothing to read"),
            () = std::future::ready(()) => {}
        }
        assert_eq!((ahead.buffer.len(), budget.available_permits()), (0, 1), "nothing is held");
        theirs.write_all(b"more").await.unwrap();
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 4);
        assert!(ahead.buffer.is_empty(), "little comes");
        drop(theirs);
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn nothing_is_held_after_the_end() {
        let budget = Arc::new(Semaphore::new(1));
        let (mut ahead, theirs) = full(&budget).await;
        drop(theirs);
        let mut seen = Vec::new();
        while read(&mut ahead, &mut seen).await > 0 {}
        assert_eq!(seen, pattern());
        assert_eq!((ahead.buffer.len(), budget.available_permits()), (0, 1));
    }

    #[tokio::test]
    async fn without_a_permit_reads_are_as_they_were_asked_for() {
        let budget = Arc::new(Semaphore::new(1));
        let (mut first, _one) = full(&budget).await;
        let (mut second, _other) = full(&budget).await;
        let (mut seen, mut others) = (Vec::new(), Vec::new());
        read(&mut first, &mut seen).await;
        while others.len() < PLENTY {
            read(&mut second, &mut others).await;
            assert!(second.buffer.is_empty());
        }
        assert_eq!(others, pattern());
        drop(first);
        assert_eq!(budget.available_permits(), 1);
    }
}
