//! Secrets on their way into a request.

use super::{headers, path::unescaped, redact::Needles};
use agentkernel_model::secret::SecretName;
use agentkernel_trust::Bound;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What stands for a secret inside the sandbox.
pub(crate) const PLACEHOLDER: &str = "ak-proxy-managed";

/// What was put into a request.
pub(super) struct Injected {
    /// Empty where it goes out in clear.
    pub(super) names: Vec<SecretName>,
    /// The headers that carry them.
    pub(super) headers: Vec<HeaderName>,
    /// One of them is the key of a well-known service, in the header that it wants. A key of the client's own beside it could
    /// make the service take the request for another account's: whoever sends files there has them elsewhere.
    pub(super) is_at_service: bool,
    /// What the answer must not repeat.
    pub(super) needles: Arc<Needles>,
}

/// Names in queries by which services take keys (RFC 6750, section 2.3, and what Google, GitLab, Slack and Azure document).
const OF_KEYS: [&[u8]; 7] = [
    b"access_token",
    b"bearer_token",
    b"job_token",
    b"oauth_token",
    b"private_token",
    b"subscription-key",
    b"token",
];
/// Google's as well, where it is no usual word.
const KEY_OF_GOOGLE: (HeaderName, &[u8]) = (HeaderName::from_static("x-goog-api-key"), b"key");

impl Injected {
    /// Whether a part of a query, between two `&`, is a key that must not go along. Some servers read `;` as they read `&`.
    fn forbids(&self, part: &str) -> bool {
        part.split(';').any(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            value == PLACEHOLDER || (self.is_at_service && self.takes_for_key(name))
        })
    }

    fn takes_for_key(&self, name: &str) -> bool {
        let name = unescaped(name.as_bytes()).to_ascii_lowercase();
        // Google takes `$key` for `key` (its system parameters).
        let name = name.strip_prefix(b"$").unwrap_or(&name);
        OF_KEYS.contains(&name) || (name == KEY_OF_GOOGLE.1 && self.headers.contains(&KEY_OF_GOOGLE.0))
    }
}

/// Puts `secrets` into `headers` of a request to `host`, in place of whatever the client has written there. `None` where there is
/// none to send.
///
/// # Errors
/// When a value cannot stand in its header; the text does not repeat it.
pub(super) fn inject(
    headers: &mut HeaderMap,
    host: &str,
    mut secrets: Vec<Bound>,
) -> Result<Option<Injected>, String> {
    if secrets.is_empty() {
        return Ok(None);
    }
    // One for this very host goes before one for its domain.
    secrets.sort_by_key(|bound| bound.host().host().is_none());
    drop_placeholders(headers);
    let (mut names, mut carriers, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for bound in &secrets {
        let unsound = |_| format!("secret '{}' cannot be sent in its header", bound.name());
        let carrier: HeaderName = bound.header().name().as_str().parse().map_err(|_| unsound(()))?;
        if carriers.iter().any(|other| headers::is_read_as(other, &carrier)) {
            continue;
        }
        let text = bound.header().value(bound.secret()).map_err(|_| unsound(()))?;
        // A service that reads another spelling of it could take the client's.
        headers::take_out(headers, [&carrier]);
        headers.insert(carrier.clone(), sensitive(text.clone()).map_err(|_| unsound(()))?);
        names.push(bound.name().clone());
        carriers.push(carrier);
        sent.push((bound.secret().reveal(), text));
    }
    let host = host.parse().ok();
    let is_at_service = host.is_some_and(|host| secrets.iter().any(|bound| bound.is_at_service(&host)));
    if is_at_service {
        headers::strip_other_keys(headers, &carriers);
    }
    ask_for_whole_text(headers);
    let needles = Needles::new(sent.iter().map(|(secret, text)| (*secret, text.as_slice())));
    Ok(Some(Injected { names, headers: carriers, is_at_service, needles: Arc::new(needles) }))
}

/// For a request in clear: nothing is put into it, and its answer is searched for the `secrets` of its host, which that host
/// may have been sent over TLS.
pub(super) fn watch(headers: &mut HeaderMap, secrets: &[Bound]) -> Option<Injected> {
    if secrets.is_empty() {
        return None;
    }
    ask_for_whole_text(headers);
    let sent: Vec<_> = secrets
        .iter()
        .map(|bound| (bound.secret().reveal(), bound.header().value(bound.secret()).unwrap_or_default()))
        .collect();
    let needles = Needles::new(sent.iter().map(|(secret, text)| (*secret, text.as_slice())));
    let (names, headers, needles) = (Vec::new(), Vec::new(), Arc::new(needles));
    Some(Injected { names, headers, is_at_service: false, needles })
}

/// What could be read only in part, or not at all, could not be searched.
fn ask_for_whole_text(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, identity"));
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
}

/// The memory behind it is wiped with the last one who holds it, and HPACK does not keep it in a table.
fn sensitive(text: Zeroizing<Vec<u8>>) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Clients write the placeholder where they are used to write a key; that need not be the header that is right.
fn drop_placeholders(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .iter()
        .filter(|(_, value)| has_placeholder(value.as_bytes()))
        .map(|(name, _)| name.clone())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// `path` without the keys in its query: a service may believe them before it looks at a header. What is only the placeholder
/// goes, and at a well-known service what it takes for a key.
pub(super) fn without_keys(path: PathAndQuery, injected: &Injected) -> PathAndQuery {
    let Some(query) = path.query() else { return path };
    if !query.split('&').any(|part| injected.forbids(part)) {
        return path;
    }
    let kept: Vec<&str> = query.split('&').filter(|part| !injected.forbids(part)).collect();
    let text = match kept.as_slice() {
        [] => path.path().to_owned(),
        kept => format!("{}?{}", path.path(), kept.join("&")),
    };
    // Parts of a valid one are one.
    text.parse().unwrap_or(path)
}

pub(super) fn has_placeholder(value: &[u8]) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(PLACEHOLDER.len()).any(|part| part == PLACEHOLDER.as_bytes());
    let basic = || {
        let (scheme, digits) = value.split_at_checked(6)?;
        scheme.eq_ignore_ascii_case(b"basic ").then(|| STANDARD.decode(digits.trim_ascii()).ok())?
    };
    holds(value) || basic().is_some_and(|pair| holds(&pair))
}

#[cfg(test)]
#[path = "inject_tests.rs"]
mod tests;
