//! Connections of the gateway's own that are told, because the client's is none to the same place.

use super::session::Fate;
use crate::observer::{Ledger, Outcome};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The account of one connection. Dropping it tells how it ended: by itself, else as the client's did.
pub(super) struct Book {
    ledger: Ledger,
    fate: Arc<Fate>,
    end: Option<Outcome>,
}

impl Book {
    pub(super) const fn open(ledger: Ledger, fate: Arc<Fate>) -> Self {
        Self { ledger, fate, end: None }
    }

    /// Nobody was there.
    pub(super) fn unreachable(mut self, kind: io::ErrorKind) {
        self.end = Some(Outcome::Unreachable(kind));
    }

    fn ended(&mut self, outcome: Outcome) {
        // What comes later comes of it.
        self.end.get_or_insert(outcome);
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.ledger.outcome = self.end.unwrap_or_else(|| self.fate.end());
    }
}

/// A connection to the other side, with its account where it has one.
pub(super) struct Booked<S> {
    io: S,
    book: Option<Book>,
}

impl<S> Booked<S> {
    pub(super) const fn new(io: S, book: Option<Book>) -> Self {
        Self { io, book }
    }

    fn broke(&mut self, error: io::Error) -> io::Error {
        if let Some(book) = &mut self.book {
            book.ended(Outcome::Broken(error.kind()));
        }
        error
    }

    fn closed(&mut self) {
        if let Some(book) = &mut self.book {
            book.ended(Outcome::Closed);
        }
    }

    fn wrote(&mut self, written: io::Result<usize>) -> io::Result<usize> {
        let count = written.map_err(|e| self.broke(e))?;
        if let Some(book) = &self.book {
            book.ledger.sent.add(count);
        }
        Ok(count)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Booked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        read.map_err(|e| self.broke(e))?;
        match (buf.filled().len() - before, &self.book) {
            (0, _) if room > 0 => self.closed(),
            (count, Some(book)) => book.ledger.received.add(count),
            (_, None) => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Booked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.wrote(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.wrote(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The gateway is done with it.
        self.closed();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
