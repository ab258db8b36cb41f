//! Headers that belong to one connection, and what is left of a message without them.

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};
use std::collections::HashSet;

/// RFC 9110, section 7.6.1, with what older proxies and HTTP/2 upgrades use.
const OF_ONE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-authentication-info"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Protocols that are HTTP again: requests in them would pass without being judged.
const HTTP_AGAIN: [&str; 3] = ["h2c", "http", "tls"];

/// By which some services let a request be another one than its first line says.
const OTHER_METHOD: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];
const OTHER_PATH: [HeaderName; 2] =
    [HeaderName::from_static("x-original-url"), HeaderName::from_static("x-rewrite-url")];

/// By which services take keys.
const OF_KEYS: [HeaderName; 13] = [
    header::AUTHORIZATION,
    HeaderName::from_static("api-key"),
    // Azure.
    HeaderName::from_static("ocp-apim-subscription-key"),
    // Cloudflare.
    HeaderName::from_static("x-auth-email"),
    HeaderName::from_static("x-auth-key"),
    HeaderName::from_static("x-auth-user-service-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-subscription-token"),
    HeaderName::from_static("xi-api-key"),
    // GitLab.
    HeaderName::from_static("deploy-token"),
    HeaderName::from_static("job-token"),
    HeaderName::from_static("private-token"),
];

/// The methods that a service could take a request for, beside its own.
pub(super) fn other_methods(headers: &HeaderMap) -> impl Iterator<Item = String> + use<'_> {
    let named = headers.iter().filter(|(name, _)| OTHER_METHOD.iter().any(|other| is_read_as(name, other)));
    named.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_uppercase())
}

/// Takes out what only a proxy in front of a service has to say: another path than the one that was judged.
pub(super) fn strip_other_paths(headers: &mut HeaderMap) {
    take_out(headers, &OTHER_PATH);
}

/// Takes out what carries a key but is none of `carriers`.
pub(super) fn strip_other_keys(headers: &mut HeaderMap, carriers: &[HeaderName]) {
    let is_other = |name: &&HeaderName| !carriers.iter().any(|carrier| is_read_as(carrier, name));
    take_out(headers, OF_KEYS.iter().filter(is_other));
}

/// Takes out whatever a service can read as one of `names`.
pub(super) fn take_out<'a>(headers: &mut HeaderMap, names: impl IntoIterator<Item = &'a HeaderName>) {
    // Each is looked up once: a Connection header can name thousands.
    let names: HashSet<Vec<u8>> = names.into_iter().map(|name| signs(name).collect()).collect();
    let is_one = |key: &&HeaderName| names.contains(&signs(key).collect::<Vec<_>>());
    let found: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Servers that give headers to programs as variables (CGI, WSGI) write what is no letter and no digit as `_`: to a program,
/// `X_Key` is `X-Key`.
pub(super) fn is_read_as(one: &HeaderName, other: &HeaderName) -> bool {
    signs(one).eq(signs(other))
}

fn signs(name: &HeaderName) -> impl Iterator<Item = u8> + '_ {
    name.as_str().bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'_' })
}

/// Takes out what belongs to the connection it came over, also what its Connection header names. Framing is written
/// anew by whoever sends it on, so Content-Length goes too. `TE: trailers` is the one wish that stays.
pub(super) fn strip(headers: &mut HeaderMap) {
    let trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let named: Vec<HeaderName> =
        tokens(headers, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
    let framing = [&header::TE, &header::CONTENT_LENGTH];
    take_out(headers, named.iter().chain(&OF_ONE_CONNECTION).chain(framing));
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocols that a message wants to change to, those that may be.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    if !tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return None;
    }
    let allowed: Vec<&str> = tokens(headers, &header::UPGRADE)
        .filter(|token| {
            let protocol = token.split('/').next().unwrap_or_default();
            !protocol.is_empty() && !HTTP_AGAIN.iter().any(|again| protocol.eq_ignore_ascii_case(again))
        })
        .collect();
    if allowed.is_empty() {
        return None;
    }
    HeaderValue::from_str(&allowed.join(", ")).ok()
}

/// Takes out what must not stand behind a body (RFC 9110, section 6.5.1): it could be taken for a header.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    let kept_out = [
        header::HOST,
        header::TE,
        header::TRAILER,
        header::EXPECT,
        header::RANGE,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ];
    take_out(trailers, kept_out.iter().chain(&OF_KEYS).chain(&OTHER_METHOD).chain(&OTHER_PATH));
}

/// Members of a list (RFC 9110, section 5.6.1), over all lines of that name.
pub(super) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
