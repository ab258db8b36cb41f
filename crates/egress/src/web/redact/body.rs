//! The body of an answer with its secrets taken out.

use super::{Needles, Redactor};
use crate::web::headers;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use hyper::{
    HeaderMap,
    body::{Body, Frame, Incoming},
    header::HeaderValue,
};
use std::{
    error::Error,
    io::{self, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// What the bytes of a body are to be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::web) enum Encoding {
    Identity,
    Gzip,
}

/// As bodies of more than one kind have it.
pub(in crate::web) type Broken = Box<dyn Error + Send + Sync>;

/// Passes a body on in identity, as it comes, in constant memory.
pub(in crate::web) struct Redacting {
    inner: Incoming,
    redactor: Redactor,
    needles: Arc<Needles>,
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// What the decoder has not taken yet: a small piece of gzip can become a large one.
    undecoded: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Redacting {
    pub(in crate::web) fn new(inner: Incoming, needles: Arc<Needles>, encoding: Encoding) -> Self {
        let decoder = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(MultiGzDecoder::new(Vec::new())),
        };
        Self {
            inner,
            redactor: Redactor::new(Arc::clone(&needles)),
            needles,
            decoder,
            undecoded: Bytes::new(),
            trailers: None,
            ended: false,
        }
    }

    pub(in crate::web) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if !self.undecoded.is_empty() {
                match self.decode() {
                    Ok(output) if output.is_empty() => continue,
                    Ok(output) => return Poll::Ready(Some(Ok(Frame::data(output)))),
                    Err(e) => return Poll::Ready(Some(Err(e.into()))),
                }
            }
            if self.ended {
                let trailers = self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)));
                return Poll::Ready(trailers);
            }
            let output = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                Some(Ok(frame)) => self.take(frame),
                None => self.finish(),
            };
            match output {
                Ok(output) if output.is_empty() => {}
                Ok(output) => return Poll::Ready(Some(Ok(Frame::data(output)))),
                Err(e) => return Poll::Ready(Some(Err(e.into()))),
            }
        }
    }

    pub(in crate::web) const fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    fn take(&mut self, frame: Frame<Bytes>) -> io::Result<Bytes> {
        match frame.into_data() {
            Ok(data) if self.decoder.is_some() => {
                self.undecoded = data;
                Ok(Bytes::new())
            }
            Ok(data) => Ok(self.redactor.pass(data)),
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    headers::clean_trailers(&mut trailers);
                    redact_headers(&mut trailers, &self.needles);
                    self.trailers = Some(trailers);
                }
                self.finish()
            }
        }
    }

    /// One step, whose output is bounded by the buffers of the decoder.
    fn decode(&mut self) -> io::Result<Bytes> {
        let Some(decoder) = &mut self.decoder else { return Ok(Bytes::new()) };
        let taken = decoder.write(&self.undecoded)?;
        if taken == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let _ = self.undecoded.split_to(taken.min(self.undecoded.len()));
        if self.undecoded.is_empty() {
            // What came is shown at once, and not when there is more.
            decoder.flush()?;
        }
        let plain = std::mem::take(decoder.get_mut());
        Ok(self.redactor.pass(plain.into()))
    }

    fn finish(&mut self) -> io::Result<Bytes> {
        self.ended = true;
        let mut output = Vec::new();
        if let Some(mut decoder) = self.decoder.take() {
            decoder.try_finish()?;
            self.redactor.push(decoder.get_ref(), &mut output);
        }
        self.redactor.finish(&mut output);
        Ok(output.into())
    }
}

/// The same for the values of headers.
pub(in crate::web) fn redact_headers(headers: &mut HeaderMap, needles: &Arc<Needles>) {
    for value in headers.values_mut() {
        let mut output = Vec::with_capacity(value.len());
        let mut redactor = Redactor::new(Arc::clone(needles));
        redactor.push(value.as_bytes(), &mut output);
        redactor.finish(&mut output);
        if output != value.as_bytes() {
            // Parts of a valid value and the mask are one.
            *value = HeaderValue::from_bytes(&output).unwrap_or(HeaderValue::from_static("[redacted]"));
        }
    }
}
