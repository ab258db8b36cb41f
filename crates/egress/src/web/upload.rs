//! The body of a request on its way out.

use super::{headers, inject};
use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::{Body, Frame, Incoming, SizeHint},
    header::HeaderName,
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// Passes on what comes, as it comes. Trailers neither carry a secret nor take the place of one.
pub(super) struct Upload {
    /// `None`: nothing.
    body: Option<Incoming>,
    /// Not in trailers.
    kept_out: Vec<HeaderName>,
}

impl Upload {
    pub(super) const fn new(body: Incoming, kept_out: Vec<HeaderName>) -> Self {
        Self { body: Some(body), kept_out }
    }

    pub(super) const fn empty() -> Self {
        Self { body: None, kept_out: Vec::new() }
    }

    fn clean(&self, trailers: &mut HeaderMap) {
        headers::clean_trailers(trailers);
        let placeholders = trailers.iter().filter(|(_, value)| inject::has_placeholder(value.as_bytes()));
        let named: Vec<HeaderName> = placeholders.map(|(name, _)| name.clone()).collect();
        headers::take_out(trailers, named.iter().chain(&self.kept_out));
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(mut trailers) => {
                    self.clean(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(frame) => frame,
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}
