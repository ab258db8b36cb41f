//! Reads of TLS as large as the reader wants.

use super::ahead::Ahead;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_rustls::{client, server};

/// What a read goes on to where much is not being read ahead. With one record more, of 16 KiB, it is what HTTP has room for.
const NARROW: usize = 48 * 1024;

/// TLS that may read ahead.
pub(super) trait Wide {
    /// Whether it does now, which only some connections may at a time.
    fn is_wide(&self) -> bool;
}

impl<S> Wide for client::TlsStream<Ahead<S>> {
    fn is_wide(&self) -> bool {
        self.get_ref().0.is_wide()
    }
}

impl<S> Wide for server::TlsStream<Ahead<S>> {
    fn is_wide(&self) -> bool {
        self.get_ref().0.is_wide()
    }
}

/// Goes on reading while there is something and there is room. TLS gives one record at a time, 16 KiB at most; each would be
/// passed on by itself, with calls of its own to encrypt and to send it.
pub(super) struct Filled<S> {
    io: S,
    /// Came after bytes that were to be given first.
    failed: Option<io::Error>,
}

impl<S> Filled<S> {
    pub(super) const fn new(io: S) -> Self {
        Self { io, failed: None }
    }
}

impl<S: Wide> Filled<S> {
    /// `begin` is what was in `buf` before.
    fn goes_on(&self, begin: usize, buf: &ReadBuf<'_>) -> bool {
        buf.remaining() > 0 && (buf.filled().len() - begin < NARROW || self.io.is_wide())
    }
}

impl<S: AsyncRead + Wide + Unpin> AsyncRead for Filled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let begin = buf.filled().len();
        loop {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.io).poll_read(cx, buf);
            let has_some = before > begin;
            match read {
                Poll::Pending if has_some => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) if has_some => {
                    self.failed = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) if buf.filled().len() > before && self.goes_on(begin, buf) => {}
                read => return read,
            }
        }
    }
}

writes_through!(Filled<S>);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    /// Gives one byte at a time, and then an end.
    struct Drops(Vec<Option<io::ErrorKind>>);

    impl Wide for Drops {
        fn is_wide(&self) -> bool {
            true
        }
    }

    /// Has as much as there is room for, a record at a time.
    struct Records {
        is_wide: bool,
    }

    impl Wide for Records {
        fn is_wide(&self) -> bool {
            self.is_wide
        }
    }

    impl AsyncRead for Records {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let count = buf.remaining().min(16 * 1024);
            buf.initialize_unfilled_to(count);
            buf.advance(count);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn who_does_not_read_ahead_is_given_little_at_once() {
        let mut room = vec![0; 256 * 1024];
        for (is_wide, most) in [(true, room.len()), (false, NARROW)] {
            assert_eq!(Filled::new(Records { is_wide }).read(&mut room).await.unwrap(), most);
        }
    }

    impl AsyncRead for Drops {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop() {
                Some(None) => buf.put_slice(b"x"),
                Some(Some(io::ErrorKind::WouldBlock)) => return Poll::Pending,
                Some(Some(kind)) => return Poll::Ready(Err(kind.into())),
                None => {}
            }
            Poll::Ready(Ok(()))
        }
    }

    async fn reads(drops: &[Option<io::ErrorKind>], room: usize) -> Vec<io::Result<usize>> {
        let mut filled = Filled::new(Drops(drops.iter().rev().copied().collect()));
        let mut buffer = vec![0; room];
        let mut reads = Vec::new();
        for _ in 0..3 {
            reads.push(filled.read(&mut buffer).await);
        }
        reads
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once_and_nothing_is_lost() {
        let counts = |reads: Vec<io::Result<usize>>| -> Vec<_> {
            reads.into_iter().map(|r| r.map_err(|e| e.kind())).collect()
        };
        let broken = io::ErrorKind::ConnectionReset;
        assert_eq!(counts(reads(&[None; 5], 8).await), [Ok(5), Ok(0), Ok(0)]);
        assert_eq!(counts(reads(&[None; 5], 3).await), [Ok(3), Ok(2), Ok(0)]);
        assert_eq!(counts(reads(&[None, None, Some(broken)], 8).await), [Ok(2), Err(broken), Ok(0)]);
        let pause = Some(io::ErrorKind::WouldBlock);
        assert_eq!(counts(reads(&[None, pause, None], 8).await), [Ok(1), Ok(1), Ok(0)]);
    }
}
