//! Reads of TLS as large as the reader wants.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

impl<S: AsyncRead + Unpin> AsyncRead for Filled<S> {
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
                Poll::Ready(Ok(())) if buf.filled().len() > before && buf.remaining() > 0 => {}
                read => return read,
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Filled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    /// Gives one byte at a time, and then an end.
    struct Drops(Vec<Option<io::ErrorKind>>);

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
