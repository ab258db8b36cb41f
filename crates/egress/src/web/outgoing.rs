//! Answers, made ready for the client, and streams that are no HTTP any more.

use super::{
    answer::Answer,
    headers,
    inject::Injected,
    redact::{Encoding, Redacting, redact_headers},
    sides::Busy,
    upload::Upload,
};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderName, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::copy_bidirectional;

/// True of the bytes that came, and not of those that are sent on.
const OF_ENCODED_BYTES: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

/// An answer on its way.
pub(super) enum Answered {
    Passed(Response<Answer>),
    /// It is in an encoding, which this says, that has to be taken off here and cannot be.
    Unreadable(&'static str),
}

/// `response` as one of this gateway's own, with the secrets that went with its request taken out.
pub(super) fn answer(
    response: Response<Incoming>,
    injected: Option<&Injected>,
    is_head: bool,
    busy: Busy,
) -> Answered {
    let (mut parts, body) = response.into_parts();
    // The reason phrase is in there: nobody reads it, and it could carry what must not pass.
    parts.extensions.clear();
    let describes = is_head || parts.status == StatusCode::NOT_MODIFIED;
    let length = parts.headers.get(header::CONTENT_LENGTH).filter(|_| describes).cloned();
    // Only `chunked` was taken off, and its header goes with this connection: nothing would say what the body is in.
    if is_coded(&parts.headers) && !body.is_end_stream() {
        return Answered::Unreadable("a transfer encoding that was not asked for");
    }
    clean(&mut parts.headers);
    let needles = injected.map(|injected| &injected.needles).filter(|needles| !needles.is_empty());
    let Some(needles) = needles else {
        // Without a body there is nothing else to take it from.
        if let Some(length) = length {
            parts.headers.insert(header::CONTENT_LENGTH, length);
        }
        return Answered::Passed(Response::from_parts(parts, Answer::passing(body, busy)));
    };
    redact_headers(&mut parts.headers, needles);
    let encoding = encoding(&parts.headers);
    if body.is_end_stream() {
        return Answered::Passed(Response::from_parts(parts, Answer::passing(body, busy)));
    }
    let Some(encoding) = encoding else {
        return Answered::Unreadable(
            "an encoding that was not asked for, which cannot be searched for secrets",
        );
    };
    for name in &OF_ENCODED_BYTES {
        parts.headers.remove(name);
    }
    let body = Redacting::new(body, Arc::clone(needles), encoding);
    Answered::Passed(Response::from_parts(parts, Answer::redacting(body, busy)))
}

/// The same request once more, where it has no body and asking twice is asking once.
pub(super) fn repeatable(request: &Request<Upload>) -> Option<Request<Upload>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Upload::empty());
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    *again.version_mut() = request.version();
    Some(again)
}

/// The answer that begins another protocol.
pub(super) fn switching(response: Response<Incoming>, injected: Option<&Injected>) -> Response<Answer> {
    let (mut parts, _) = response.into_parts();
    parts.extensions.clear();
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    clean(&mut parts.headers);
    if let Some(injected) = injected {
        redact_headers(&mut parts.headers, &injected.needles);
    }
    connection(&mut parts.headers, protocol);
    Response::from_parts(parts, Answer::empty())
}

/// Copies until both sides have finished, or one broke off.
pub(super) async fn tunnel(client: OnUpgrade, server: OnUpgrade, busy: Busy) {
    let (Ok(client), Ok(server)) = tokio::join!(client, server) else { return };
    // How it ends is for the two to know.
    let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
    drop(busy);
}

/// Says what of the headers is for the next connection alone (HTTP/1.1).
pub(super) fn connection(map: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    let wishes = match (upgrade.is_some(), map.contains_key(header::TE)) {
        (false, false) => return,
        (true, false) => "upgrade",
        (false, true) => "te",
        (true, true) => "upgrade, te",
    };
    map.insert(header::CONNECTION, HeaderValue::from_static(wishes));
    if let Some(protocol) = upgrade {
        map.insert(header::UPGRADE, protocol);
    }
}

fn clean(map: &mut HeaderMap) {
    headers::strip(map);
    map.remove(header::TE);
    // Another way to the host, which would not lead through this gateway.
    map.remove(header::ALT_SVC);
}

/// Whether a transfer encoding other than `chunked` is on it.
fn is_coded(map: &HeaderMap) -> bool {
    let mut codings = headers::tokens(map, &header::TRANSFER_ENCODING)
        .filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    let is_known = codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case("chunked"));
    let is_text = map.get_all(header::TRANSFER_ENCODING).iter().all(|value| value.to_str().is_ok());
    !(is_known && is_text && codings.next().is_none())
}

/// `None` where it is one that was not asked for.
fn encoding(map: &HeaderMap) -> Option<Encoding> {
    let mut codings = headers::tokens(map, &header::CONTENT_ENCODING)
        .filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) if map.get_all(header::CONTENT_ENCODING).iter().all(|value| value.to_str().is_ok()) => {
            Some(Encoding::Identity)
        }
        (Some(one), None) if one.eq_ignore_ascii_case("gzip") || one.eq_ignore_ascii_case("x-gzip") => {
            Some(Encoding::Gzip)
        }
        _ => None,
    }
}
