//! HTTP over a Unix socket: one request, one answer. Version 1.0, so that an answer is never cut into chunks.

use agentkernel_model::{Error, Kind, Result, text::printable};
use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long an engine may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read of an answer.
const LIMIT: u64 = 16 << 20;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn text(&self) -> String {
        printable(String::from_utf8_lossy(&self.body).trim())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.get(..3)?.parse().ok()?;
        Some(Self { status, body: bytes[end + 4..].to_vec() })
    }
}

/// What is sent with a request, and what it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) kind: &'static str,
    pub(super) bytes: &'a [u8],
}

/// Sends one request to the server at `socket` and reads its answer to the end.
pub(super) fn request(socket: &Path, method: &str, target: &str, body: Option<Body<'_>>) -> Result<Answer> {
    let io = |what: &str| {
        let what = format!("cannot {what} '{}' for {method} {target}", socket.display());
        move |e| Error::io(what, e)
    };
    let mut stream = UnixStream::connect(socket).map_err(io("connect to"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(io("set up"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(io("set up"))?;
    let Body { kind, bytes } = body.unwrap_or(Body { kind: "application/json", bytes: b"" });
    let head = format!(
        "{method} {target} HTTP/1.0\r\nHost: engine\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).map_err(io("write to"))?;
    stream.write_all(bytes).map_err(io("write to"))?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).map_err(io("read from"))?;
    Answer::parse(&answer).ok_or_else(|| {
        Error::new(
            Kind::Unavailable,
            format!("'{}' answers {method} {target} with no HTTP", socket.display()),
        )
    })
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
