//! What the sandbox gets back: a body that is passed on, or a sentence of the gateway.

use super::{
    headers,
    redact::{Broken, Redacting},
    sides::Busy,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderName, HeaderValue},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

/// On every answer by which the gateway refuses.
pub(super) const BLOCKED: HeaderName = HeaderName::from_static("x-agentkernel-blocked");

/// The body of an answer. The connection counts as busy until it is gone.
pub(super) struct Answer {
    kind: Kind,
    _busy: Option<Busy>,
}

enum Kind {
    Text(Full<Bytes>),
    Passing(Incoming),
    Redacting(Box<Redacting>),
}

impl Answer {
    pub(super) fn empty() -> Self {
        Self { kind: Kind::Text(Full::default()), _busy: None }
    }

    pub(super) fn passing(body: Incoming, busy: Busy) -> Self {
        Self { kind: Kind::Passing(body), _busy: Some(busy) }
    }

    pub(super) fn redacting(body: Redacting, busy: Busy) -> Self {
        Self { kind: Kind::Redacting(Box::new(body)), _busy: Some(busy) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.kind {
            Kind::Text(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Kind::Passing(body) => Pin::new(body).poll_frame(cx).map_ok(cleaned).map_err(Into::into),
            Kind::Redacting(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(body) => body.is_end_stream(),
            Kind::Passing(body) => body.is_end_stream(),
            Kind::Redacting(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text(body) => body.size_hint(),
            Kind::Passing(body) => body.size_hint(),
            // What is taken out changes it.
            Kind::Redacting(_) => SizeHint::default(),
        }
    }
}

fn cleaned(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            headers::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The gateway says no.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response<Answer> {
    let mut response = sentence(status, why);
    response.headers_mut().insert(BLOCKED, HeaderValue::from_static("true"));
    response
}

/// The gateway could not.
pub(super) fn sentence(status: StatusCode, what: &str) -> Response<Answer> {
    let text = Bytes::from(format!("agentkernel: {what}\n"));
    let mut response = Response::new(Answer { kind: Kind::Text(Full::new(text)), _busy: None });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
