//! Bodies of answers: whole, or written while they are sent.

use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::mpsc;

/// What a task sends into a channel, until it drops its end.
#[derive(Debug)]
pub(super) struct Pipe(pub(super) mpsc::Receiver<Bytes>);

impl Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(ready!(self.0.poll_recv(cx)).map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// The whole of `bytes`.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Pipe {
    let (send, receive) = mpsc::channel(1);
    // There is room for one, and the other end is here.
    let _sent = send.try_send(bytes.into());
    Pipe(receive)
}
