//! The variables of the OpenTelemetry specification that are read, from wherever they are.

use crate::Sampler;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use std::{fmt, time::Duration};
use zeroize::Zeroizing;

/// How long a collector may take for an answer. Less than the ten seconds of the specification, because a command waits for
/// it at its end.
const TIMEOUT: Duration = Duration::from_secs(2);
const SIGNAL_PATH: &str = "v1/traces";

/// Where traces go, which, and what is said about whoever they are of.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) timeout: Duration,
    pub(crate) resource: Vec<(String, String)>,
    pub sampler: Sampler,
}

/// Why nothing is traced, although somebody wants it: a variable, and what is wrong with it. Its value is not repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub(crate) variable: &'static str,
    pub(crate) why: &'static str,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.why)
    }
}

impl std::error::Error for Trouble {}

/// Whether anything is to be traced at all: all that is asked where nothing is.
pub fn is_wanted(is_set: impl Fn(&str) -> bool) -> bool {
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"]
        .into_iter()
        .any(is_set)
}

impl Settings {
    /// What `text` has of each variable; an empty one is as good as none. `None`: nothing is to be traced.
    ///
    /// # Errors
    /// For a value that cannot be, or that is not supported.
    pub fn read(text: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Trouble> {
        let text = |name: &str| text(name).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        if text("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let is_asked_for = match text("OTEL_TRACES_EXPORTER").as_deref() {
            Some("none") => return Ok(None),
            Some("otlp") => true,
            None => false,
            Some(_) => return trouble("OTEL_TRACES_EXPORTER", "it is neither 'otlp' nor 'none'"),
        };
        let Some(endpoint) = endpoint(&text, is_asked_for)? else { return Ok(None) };
        let (name, protocol) =
            either(&text, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if protocol.is_some_and(|protocol| protocol != "http/protobuf") {
            return trouble(name, "only http/protobuf is spoken");
        }
        let (name, timeout) =
            either(&text, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let timeout = match timeout.map(|it| it.parse::<u32>()) {
            None => TIMEOUT,
            Some(Ok(milliseconds)) => Duration::from_millis(milliseconds.into()),
            Some(Err(_)) => return trouble(name, "it is no number of milliseconds"),
        };
        let sampler = match text("OTEL_TRACES_SAMPLER") {
            None => Sampler::DEFAULT,
            Some(name) => Sampler::parse(&name, text("OTEL_TRACES_SAMPLER_ARG").as_deref())
                .ok_or(Trouble { variable: "OTEL_TRACES_SAMPLER", why: "there is no such sampler" })?,
        };
        let resource = resource(text("OTEL_SERVICE_NAME"), text("OTEL_RESOURCE_ATTRIBUTES").as_deref())?;
        Ok(Some(Self { endpoint, timeout, resource, sampler }))
    }
}

fn trouble<T>(variable: &'static str, why: &'static str) -> Result<T, Trouble> {
    Err(Trouble { variable, why })
}

/// The first of the two that says something, and which it is.
fn either(
    text: &impl Fn(&str) -> Option<String>,
    own: &'static str,
    general: &'static str,
) -> (&'static str, Option<String>) {
    match text(own) {
        Some(value) => (own, Some(value)),
        None => (general, text(general)),
    }
}

/// That of traces as it is, that of all signals with the path of traces behind it.
fn endpoint(text: &impl Fn(&str) -> Option<String>, is_asked_for: bool) -> Result<Option<Url>, Trouble> {
    let (own, general) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let (name, address) = match (text(own), text(general)) {
        (Some(address), _) => (own, address),
        (None, Some(base)) => (general, format!("{}/{SIGNAL_PATH}", base.trim_end_matches('/'))),
        (None, None) if is_asked_for => (general, format!("http://localhost:4318/{SIGNAL_PATH}")),
        (None, None) => return Ok(None),
    };
    let Ok(url) = Url::parse(&address) else { return trouble(name, "it is no URL") };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return trouble(name, "it is no http or https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return trouble(name, "a URL is no place for a password: use OTEL_EXPORTER_OTLP_HEADERS");
    }
    Ok(Some(url))
}

fn resource(name: Option<String>, more: Option<&str>) -> Result<Vec<(String, String)>, Trouble> {
    let wrong =
        Trouble { variable: "OTEL_RESOURCE_ATTRIBUTES", why: "it is no list such as key=value,key=value" };
    let mut resource = match more {
        Some(text) => pairs(text).ok_or(wrong)?,
        None => Vec::new(),
    };
    if name.is_some() {
        resource.retain(|(key, _)| key != "service.name");
    }
    let fixed = [
        ("service.name", name.unwrap_or_else(|| "agentkernel".to_owned())),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("telemetry.sdk.name", "agentkernel".to_owned()),
        ("telemetry.sdk.language", "rust".to_owned()),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for (key, value) in fixed {
        // Who runs it may say what it is.
        if resource.iter().all(|(own, _)| own != key) {
            resource.push((key.to_owned(), value));
        }
    }
    Ok(resource)
}

/// What a collector wants to be sent with every request: keys, mostly.
///
/// # Errors
/// When it cannot be: nothing of it is in the words.
pub(crate) fn headers(text: &impl Fn(&str) -> Option<Zeroizing<String>>) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::new();
    let [general, own] = crate::SECRET_VARIABLES;
    // The one of traces wins, header by header.
    for name in [general, own] {
        let Some(list) = text(name).filter(|list| !list.trim().is_empty()) else { continue };
        let wrong = Trouble { variable: name, why: "it is no list of headers such as key=value,key=value" };
        for (key, value) in pairs(&list).ok_or(wrong.clone())? {
            let value = Zeroizing::new(value);
            let key: HeaderName = key.parse().map_err(|_| wrong.clone())?;
            let mut value: HeaderValue = value.parse().map_err(|_| wrong.clone())?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
    }
    Ok(headers)
}

/// `key=value,key=value`, with percent signs before what would otherwise end a value.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            if key.is_empty() {
                return None;
            }
            Some((key.to_owned(), decoded(value.trim())?))
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
