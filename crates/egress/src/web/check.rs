//! What a request has to be before anybody is asked about it.

use super::{MOST_HEADERS, Place, headers, host, upstream::Protocol};
use hyper::{Method, Request, StatusCode, header};

/// Why a request is not passed on.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// A sentence without a full stop.
    pub(super) why: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

/// Whether `request`, which came over `protocol` on a connection to `place`, is one that can be judged: of one meaning, for
/// that place.
pub(super) fn check<B>(request: &Request<B>, place: &Place, protocol: Protocol) -> Result<(), Refused> {
    let method = request.method();
    if *method == Method::CONNECT {
        return Err(Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is for the proxy, this is a connection to one host",
        ));
    }
    if *method == Method::TRACE {
        // It answers with what was sent, secrets and all.
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "TRACE is not passed on"));
    }
    if protocol == Protocol::Http1
        && (request.uri().scheme().is_some() || request.uri().authority().is_some())
    {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "a request to a host names a path, and not a whole URL",
        ));
    }
    let path = request.uri().path();
    let is_of_server = *method == Method::OPTIONS && path == "*";
    if !path.starts_with('/') && !is_of_server {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "the path of a request begins with a slash"));
    }
    if !host::is_meant_for(request, place) {
        return Err(Refused::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this connection is for {}, and the request is not, or does not say so once", place.name),
        ));
    }
    framing(request)
}

fn framing<B>(request: &Request<B>) -> Result<(), Refused> {
    let map = request.headers();
    if map.len() > MOST_HEADERS {
        return Err(Refused::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("a request has more than {MOST_HEADERS} headers"),
        ));
    }
    let coded = map.contains_key(header::TRANSFER_ENCODING);
    // Other codings would be taken off the message, and not off its body.
    let mut codings = headers::tokens(map, &header::TRANSFER_ENCODING);
    let is_chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    if coded && !(is_chunked && codings.next().is_none()) {
        return Err(Refused::new(
            StatusCode::NOT_IMPLEMENTED,
            "the one transfer encoding that is known is chunked",
        ));
    }
    if coded && map.contains_key(header::CONTENT_LENGTH) {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "a request has a length and a transfer encoding"));
    }
    let mut expected = map.get_all(header::EXPECT).iter();
    if expected.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refused::new(StatusCode::EXPECTATION_FAILED, "what a request expects is not known"));
    }
    Ok(())
}
