//! What the first bytes of a connection say: which protocol it is, and which host is meant.

use rustls::server::Acceptor;
use std::{io, net::IpAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// The longest greeting that is read: TLS allows more, and nobody sends it; header sections of HTTP end at 64 KiB here.
const MAX: usize = 64 * 1024;
/// The version of a record's first byte: handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// The major version of all records, those of SSL 3 too.
const TLS_MAJOR: u8 = 3;
const MAX_HEADERS: usize = 100;
/// A greeting in more pieces is not read on: each piece has it parsed anew.
const MAX_PIECES: usize = 256;

/// What a connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// With the name of SNI (RFC 6066), in lower case and without a dot at its end.
    Tls(Option<String>),
    /// A request of HTTP/1 with the host it names: a name in lower case, or an address. Whether it says that once and
    /// truly is for whoever reads the requests.
    Http(Option<String>),
    /// What looks like HTTP, TLS or a line of text, and cannot be read: others may read a name in it.
    Unreadable,
    /// SSH, which says no name, and what begins with bytes that neither HTTP nor TLS begin with.
    Other,
}

/// Reads into `seen` until it is clear what `io` speaks, all of it within `patience`. Nothing more than a greeting is read.
///
/// # Errors
/// When reading fails, it takes longer than `patience`, or the stream ends before its first byte.
pub(crate) async fn read(
    io: &mut (impl AsyncRead + Unpin),
    seen: &mut Vec<u8>,
    patience: Duration,
) -> io::Result<Hello> {
    timeout(patience, until_clear(io, seen)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn until_clear(io: &mut (impl AsyncRead + Unpin), seen: &mut Vec<u8>) -> io::Result<Hello> {
    for _ in 0..MAX_PIECES {
        if let Some(hello) = classify(seen) {
            return Ok(hello);
        }
        let before = seen.len();
        if before >= MAX {
            break;
        }
        let mut chunk = [0; 4096];
        let count = io.read(&mut chunk).await?;
        if count == 0 {
            return if before == 0 {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(Hello::Unreadable)
            };
        }
        seen.extend_from_slice(&chunk[..count]);
    }
    Ok(Hello::Unreadable)
}

/// `None`: more is needed to tell.
pub(crate) fn classify(seen: &[u8]) -> Option<Hello> {
    match seen {
        [] => None,
        [TLS_HANDSHAKE, ..] => tls(seen),
        // Other records of TLS: some servers read on behind them, to a ClientHello whose name nobody has seen.
        [20..=24, TLS_MAJOR, ..] => Some(Hello::Unreadable),
        [20..=24] => None,
        // RFC 4253, section 4.2: both sides say their version at once.
        [b'S', b'S', b'H', b'-', ..] => Some(Hello::Other),
        [b'S'] | [b'S', b'S'] | [b'S', b'S', b'H'] => None,
        [b'A'..=b'Z', ..] => http(seen),
        // Servers of HTTP skip empty lines (RFC 9112, section 2.2), some are lenient with letters, and SSL 2 begins with
        // a length whose first bit is set.
        [b'a'..=b'z' | b'\r' | b'\n' | b' ' | b'\t' | 0x80.., ..] => Some(Hello::Unreadable),
        _ => Some(Hello::Other),
    }
}

fn tls(mut seen: &[u8]) -> Option<Hello> {
    let mut acceptor = Acceptor::default();
    while !seen.is_empty() {
        if !matches!(acceptor.read_tls(&mut seen), Ok(1..)) {
            return Some(Hello::Unreadable);
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(|name| name.strip_suffix('.').unwrap_or(name));
                return Some(Hello::Tls(name.map(str::to_ascii_lowercase)));
            }
            // An alert was prepared; who refuses sends one of its own.
            Err(_) => return Some(Hello::Unreadable),
        }
    }
    None
}

fn http(seen: &[u8]) -> Option<Hello> {
    // The beginning of any other protocol should not wait for the end of a line that never comes.
    let method = seen.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    match seen.get(method) {
        None if method <= 20 => return None,
        Some(b' ') => {}
        _ => return Some(Hello::Unreadable),
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(seen) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let host = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
            let host = host.and_then(|header| std::str::from_utf8(header.value).ok());
            Some(Hello::Http(host.and_then(host_of)))
        }
        Err(_) => Some(Hello::Unreadable),
    }
}

/// The host of a `Host` (RFC 9110, section 7.2), without its port, in lower case.
pub(crate) fn host_of(value: &str) -> Option<String> {
    let value = value.trim_ascii();
    let host = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => return v6.parse().ok().map(|ip: IpAddr| ip.to_string()),
        None => value.rsplit_once(':').map_or(value, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
