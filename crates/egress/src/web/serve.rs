//! HTTP with the sandbox, over one stream.

use super::{
    LONGEST_HEAD, LONGEST_HEAD_H2, MOST_HEADERS, answer::Answer, tasks::Spawner, upstream::Protocol,
};
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, error::Error, io};
use tokio::io::{AsyncRead, AsyncWrite};

/// At once, over HTTP/2.
const MOST_STREAMS: u32 = 32;
/// How much of a request may be under way to this process, HTTP/2.
const WINDOW: u32 = 256 * 1024;
/// How much of each answer may wait for the client, HTTP/2.
const SEND_BUFFER: usize = 32 * 1024;

/// Answers requests by `service` until the client is done.
///
/// # Errors
/// Why the connection broke off.
pub(super) async fn serve<I, S>(
    io: I,
    protocol: Protocol,
    service: S,
    tasks: Spawner,
) -> Result<(), io::ErrorKind>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<Answer>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let io = TokioIo::new(io);
    let served = match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            // Patience is the stream's: hyper's own counts the time between requests as one of reading.
            builder.header_read_timeout(None).auto_date_header(false);
            builder.max_headers(MOST_HEADERS).max_header_size(LONGEST_HEAD).max_buf_size(LONGEST_HEAD);
            builder.serve_connection(io, service).with_upgrades().await
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(tasks);
            builder.timer(TokioTimer::new()).auto_date_header(false);
            builder.max_concurrent_streams(MOST_STREAMS).max_header_list_size(LONGEST_HEAD_H2);
            builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
            builder.max_send_buf_size(SEND_BUFFER);
            builder.serve_connection(io, service).await
        }
    };
    served.map_err(|e| kind(&e))
}

/// Of the failure of a stream, or of what came over it.
pub(super) fn kind(error: &hyper::Error) -> io::ErrorKind {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return io.kind();
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        io::ErrorKind::TimedOut
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        io::ErrorKind::UnexpectedEof
    } else {
        io::ErrorKind::InvalidData
    }
}
