//! A stream of which some bytes were read already.

use agentkernel_backend::ByteStream;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, ReadBuf};

/// Yields `first`, and then what `io` does.
pub(crate) struct Replay {
    first: Vec<u8>,
    at: usize,
    io: Box<dyn ByteStream>,
}

impl Replay {
    pub(crate) const fn new(first: Vec<u8>, io: Box<dyn ByteStream>) -> Self {
        Self { first, at: 0, io }
    }
}

impl AsyncRead for Replay {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = this.first.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        this.at += count;
        if this.at == this.first.len() {
            (this.first, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

writes_through!(Replay);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;
    use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn several_pieces_are_written_at_once() {
        let (ours, mut theirs) = duplex(64);
        let mut replay = Replay::new(Vec::new(), Box::new(ours));
        assert!(replay.is_write_vectored());
        let pieces = [IoSlice::new(b"one "), IoSlice::new(b"two")];
        assert_eq!(replay.write_vectored(&pieces).await.unwrap(), 7);
        drop(replay);
        let mut seen = String::new();
        theirs.read_to_string(&mut seen).await.unwrap();
        assert_eq!(seen, "one two");
    }
}
