//! Proxies between here and registries, as the environment names them.

use crate::{registry::is_loopback, secret::Secret};
use agentkernel_model::{Error, Kind, Result};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// Which proxy leads to registries and other https servers, and who is reached without one. The default has none.
///
/// Plain http only goes to this machine's own loopback, and that never through a proxy: so there is no word here for it.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// The variable that names it, for messages: its value may hold a password.
    variable: String,
    value: Option<Secret>,
    /// `NO_PROXY`: names (and what is below them), addresses and blocks of them, each with a port or without; or `*`.
    exempt: Vec<String>,
}

impl Proxies {
    /// The proxy that `variable` has as `value`; an empty one is none. `exempt` is the text of `NO_PROXY`.
    #[must_use]
    pub fn new(variable: &str, value: String, exempt: &str) -> Self {
        let entries = exempt.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Self {
            variable: variable.to_owned(),
            value: Some(Secret::new(value)).filter(|value| !value.is_empty()),
            exempt: entries.map(str::to_owned).collect(),
        }
    }

    /// # Errors
    /// [`Kind::Config`] for a value that is no address of a proxy, [`Kind::Unsupported`] for a kind of proxy that is not
    /// spoken here. Neither shows the value.
    pub(crate) fn way(&self) -> Result<Option<Way>> {
        let Some(value) = &self.value else { return Ok(None) };
        let bad = |kind, what: &str| {
            Error::new(kind, format!("{} {what}", self.variable)).with_hint(format!(
                "write http://HOST:PORT or https://HOST:PORT into {}, with USER:PASSWORD@ where it wants them, or unset it",
                self.variable
            ))
        };
        let text = value.reveal();
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole)
            .ok()
            .filter(Url::has_host)
            .ok_or_else(|| bad(Kind::Config, "is not the address of a proxy"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad(Kind::Unsupported, "names a proxy that speaks neither http nor https"));
        }
        Ok(Some(Way { url, variable: self.variable.clone(), exempt: self.exempt.clone() }))
    }
}

/// A proxy that can be asked.
#[derive(Clone)]
pub(crate) struct Way {
    url: Url,
    variable: String,
    exempt: Vec<String>,
}

impl Way {
    /// The proxy, with what it wants to know of us, if `target` is reached through it.
    pub(crate) fn to(&self, target: &Url) -> Option<Url> {
        if target.scheme() != "https" || is_loopback(target) {
            return None;
        }
        let port = target.port_or_known_default()?;
        // The matcher takes it for names alone, and addresses are meant as well.
        if self.exempt.iter().any(|entry| entry == "*") {
            return None;
        }
        let exempt: Vec<&str> = self.exempt.iter().filter_map(|entry| without_port(entry, port)).collect();
        let matcher = Matcher::builder().https(self.url.as_str()).no(exempt.join(",")).build();
        let asked = target.as_str().parse().ok()?;
        matcher.intercept(&asked).map(|_| self.url.clone())
    }

    /// The host alone, as it stands in a URL.
    pub(crate) fn host(&self) -> Option<String> {
        self.url.host_str().map(str::to_owned)
    }

    /// Host and port, for messages.
    pub(crate) fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(crate) fn variable(&self) -> &str {
        &self.variable
    }
}

/// Without what is secret in it.
impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Way").field("proxy", &self.shown()).field("exempt", &self.exempt).finish()
    }
}

/// The host of an entry of `NO_PROXY`, if it speaks of `port`. Two colons and more are an address of IPv6 unless it is in
/// brackets.
fn without_port(entry: &str, port: u16) -> Option<&str> {
    let with_port = entry.rsplit_once(':').filter(|(host, _)| host.ends_with(']') || !host.contains(':'));
    let said = with_port.and_then(|(host, digits)| Some((host, digits.parse::<u16>().ok()?)));
    let host = match said {
        Some((_, said)) if said != port => return None,
        Some((host, _)) => host,
        None => entry,
    };
    Some(host.trim_start_matches('[').trim_end_matches(']'))
}

#[cfg(test)]
#[path = "proxies_tests.rs"]
mod tests;
