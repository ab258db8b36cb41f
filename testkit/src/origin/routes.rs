//! What a server answers.
//!
//! | path | answer |
//! |---|---|
//! | `/echo`, `/echo-gzip` | the headers of the request as JSON |
//! | `/upload` | how many bytes came |
//! | `/bytes/N` | so many bytes |
//! | `/stream` | what the test releases, while it does |
//! | `/redirect?to=URL` | a redirection, the URL taken as it stands |
//! | `/ws` | an upgrade to whatever is asked for; every byte comes back |
//! | a file's path | the file |
//! | else | hello |

use super::{
    Seen,
    body::{Pipe, whole},
    server::{Peer, Shared},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, LOCATION, UPGRADE,
    },
    http::{request::Parts, uri::Authority},
};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use std::{convert::Infallible, io::Write as _, sync::Arc};
use tokio::sync::mpsc;

/// The most that `/bytes/N` sends at once.
const CHUNK: usize = 64 * 1024;

pub(super) async fn answer(
    mut request: Request<Incoming>,
    peer: Peer,
    shared: Arc<Shared>,
) -> Result<Response<Pipe>, Infallible> {
    let upgraded = (request.uri().path() == "/ws").then(|| hyper::upgrade::on(&mut request));
    let (parts, mut body) = request.into_parts();
    let (mut digest, mut bytes) = (Sha256::new(), 0u64);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Some(data) = frame.data_ref() {
                    digest.update(data);
                    bytes = bytes.saturating_add(data.len() as u64);
                }
            }
            Err(e) => {
                // What did not come whole was no request.
                shared.record.fault(format!("body: {e}"));
                return Ok(plain(StatusCode::BAD_REQUEST, "the body broke off\n"));
            }
        }
    }
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str()).to_owned();
    shared.record.request(Seen {
        connection: peer.connection,
        peer: peer.address,
        sni: peer.sni,
        version: format!("{:?}", parts.version),
        method: parts.method.to_string(),
        authority: parts.uri.authority().map(ToString::to_string),
        path: path.clone(),
        headers: listed(&parts.headers),
        body_bytes: bytes,
        body_sha256: hex(&digest.finalize()),
    });
    shared.before_answer().await;
    if let Some(upgraded) = upgraded {
        return Ok(upgrade(upgraded, &parts.headers));
    }
    Ok(route(&path, &parts, bytes, &shared))
}

fn route(path: &str, parts: &Parts, received: u64, shared: &Shared) -> Response<Pipe> {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    if let Some(file) = shared.files.get(bare) {
        let leads = file.location.as_deref().map(|to| (LOCATION, to));
        let headers: Vec<_> = leads.into_iter().chain([(CONTENT_TYPE, file.kind)]).collect();
        return with(file.status, &headers, whole(file.bytes_at(&base(parts))));
    }
    match bare {
        "/echo" => with(StatusCode::OK, &[(CONTENT_TYPE, "application/json")], whole(echo(&parts.headers))),
        "/echo-gzip" => {
            let kinds = [(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")];
            with(StatusCode::OK, &kinds, whole(gzip(&echo(&parts.headers))))
        }
        "/upload" => plain(StatusCode::OK, format!("{received}\n")),
        "/stream" => with(StatusCode::OK, &[(CONTENT_TYPE, "text/event-stream")], Pipe(shared.stream())),
        "/redirect" => {
            let to = query.strip_prefix("to=").unwrap_or("/");
            with(StatusCode::FOUND, &[(LOCATION, to)], whole("elsewhere\n"))
        }
        _ => match bare.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
            Some(count) => many(count),
            None if !shared.files.is_empty() => plain(StatusCode::NOT_FOUND, "no such file\n"),
            None => plain(StatusCode::OK, "hello\n"),
        },
    }
}

fn many(count: u64) -> Response<Pipe> {
    let (send, receive) = mpsc::channel(4);
    tokio::spawn(async move {
        let chunk = Bytes::from(vec![b'x'; CHUNK]);
        let mut left = count;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            if send.send(chunk.slice(..now)).await.is_err() {
                // The reader has gone.
                return;
            }
            left -= now as u64;
        }
    });
    with(StatusCode::OK, &[(CONTENT_LENGTH, &count.to_string())], Pipe(receive))
}

fn upgrade(upgraded: hyper::upgrade::OnUpgrade, headers: &HeaderMap) -> Response<Pipe> {
    let Some(protocol) = headers.get(UPGRADE).and_then(|value| value.to_str().ok()) else {
        return plain(StatusCode::UPGRADE_REQUIRED, "an upgrade is wanted\n");
    };
    let answer =
        with(StatusCode::SWITCHING_PROTOCOLS, &[(CONNECTION, "upgrade"), (UPGRADE, protocol)], whole(""));
    tokio::spawn(async move {
        let Ok(stream) = upgraded.await else { return };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(stream));
        // It ends as the other side likes.
        let _ended = tokio::io::copy(&mut reader, &mut writer).await;
    });
    answer
}

/// What a file of this server calls it.
fn base(parts: &Parts) -> String {
    let host = parts.headers.get(HOST).and_then(|value| value.to_str().ok());
    // HTTP/2 has the name in the address.
    let host = parts.uri.authority().map(Authority::as_str).or(host).unwrap_or_default();
    format!("https://{host}")
}

fn listed(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

fn echo(headers: &HeaderMap) -> Vec<u8> {
    serde_json::json!({ "headers": listed(headers) }).to_string().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Memory takes everything.
    let _written = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Pipe> {
    with(status, &[(CONTENT_TYPE, "text/plain")], whole(text))
}

fn with(status: StatusCode, headers: &[(HeaderName, &str)], body: Pipe) -> Response<Pipe> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name.clone(), value);
        }
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
