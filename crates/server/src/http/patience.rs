//! Bodies that come too slowly: a client that stops in the middle of one holds nothing for long.

use axum::{BoxError, body::HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body that fails when nothing comes of it for half a minute, while somebody waits for it.
pub(super) struct Patient {
    body: Incoming,
    waiting: bool,
    until: Pin<Box<Sleep>>,
}

impl Patient {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, waiting: false, until: Box::pin(tokio::time::sleep(PATIENCE)) }
    }
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        if !this.waiting {
            this.waiting = true;
            this.until.as_mut().reset(Instant::now() + PATIENCE);
        }
        match this.until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the rest of the body did not come".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
