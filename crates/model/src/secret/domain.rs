//! Which hosts a secret may go to: names, never addresses, as the certificate of the other side has to prove them.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One host, `api.example.com`, or every host below a domain, `*.example.com`, at any depth but not the domain itself.
/// Lower case, without a port and without a dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    any_below: bool,
    domain: String,
}

/// RFC 1035, section 2.3.4.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

impl HostPattern {
    /// Whether a secret for this may go to `host`.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        // What is no name of a host is below nothing. Some hosts have an underscore, which no pattern has.
        is_domain(&host.replace('_', "x"))
            && if self.any_below { is_below(&host, &self.domain) } else { host == self.domain }
    }

    /// Whether `name` may be taken for one of these, though it need be no name of a host: resolvers and servers take more than
    /// certificates do, such as labels that end with a dash. For whoever forbids.
    #[must_use]
    pub fn could_match(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if self.any_below { is_below(name, &self.domain) } else { name == self.domain }
    }

    /// Whether every host of `other` is one of this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self.any_below, other.any_below) {
            (false, wild) => !wild && self.domain == other.domain,
            (true, false) => is_below(&other.domain, &self.domain),
            (true, true) => self.domain == other.domain || is_below(&other.domain, &self.domain),
        }
    }

    /// The host, where it is one and not many.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        (!self.any_below).then_some(self.domain.as_str())
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
}

/// At least two labels, so that neither `*.com` nor a word in the wrong place is a pattern; the last one has a letter, so
/// that no way to write an IPv4 address is.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= MAX_NAME
        && text.contains('.')
        && text.split('.').all(label)
        && last.starts_with(|c: char| c.is_ascii_lowercase())
}

impl FromStr for HostPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let lower = text.to_ascii_lowercase();
        let (any_below, domain) = match lower.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, lower.as_str()),
        };
        if is_domain(domain) {
            return Ok(Self { any_below, domain: domain.to_owned() });
        }
        // Not repeated: it may be the value, in the wrong place.
        Err(Error::invalid("that is not a host that a secret can go to").with_hint(
            "write a name such as api.example.com, or *.example.com; no address, port, scheme or path, and IDNs as xn--",
        ))
    }
}

impl TryFrom<String> for HostPattern {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.any_below {
            f.write_str("*.")?;
        }
        f.write_str(&self.domain)
    }
}

#[cfg(test)]
#[path = "domain_tests.rs"]
mod tests;
