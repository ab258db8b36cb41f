//! One rule, and its text.

use super::target::{PortRange, Target};
use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What carries the traffic that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What stands before the target of a rule about UDP.
const UDP: &str = "udp:";
/// No rule lets a datagram out there.
const DNS: u16 = 53;

/// Which requests of HTTP a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HttpMatch {
    /// In capitals; none means all.
    methods: Vec<String>,
    /// Begins with `/`; `None` means all.
    path: Option<String>,
}

impl HttpMatch {
    /// Whether a request is meant. `path` is that of the request without its query; who asks has refused paths that do not
    /// mean what they show (`..`, `%2e`, `//`).
    #[must_use]
    pub fn matches(&self, method: &str, path: &str) -> bool {
        let by_method = self.methods.is_empty() || self.methods.iter().any(|m| m == method);
        by_method && self.path.as_deref().is_none_or(|prefix| is_at_or_below(path, prefix))
    }

    /// Whether a server could take a request for one that is meant, however it is spelled.
    #[must_use]
    pub fn could_mean(&self, method: &str, path: &str) -> bool {
        let by_method =
            self.methods.is_empty() || self.methods.iter().any(|m| m.eq_ignore_ascii_case(method));
        let below = |prefix: &str| {
            // A directory is meant with and without the slash at its end.
            is_at_or_below(&loosely(path), &loosely(prefix))
        };
        by_method && self.path.as_deref().is_none_or(below)
    }
}

/// How often a path is decoded: servers behind proxies do it more than once.
const ROUNDS: usize = 4;

/// `path` as servers may read it: decoded, without the parameters of its segments and without empty ones, in lower case.
fn loosely(path: &str) -> String {
    let mut bytes = path.as_bytes().to_ascii_lowercase();
    for _ in 0..ROUNDS {
        let decoded = decoded(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    bytes.make_ascii_lowercase();
    let text = String::from_utf8_lossy(&bytes);
    let names = text.split('/').map(|part| part.split(';').next().unwrap_or_default());
    names.filter(|name| !name.is_empty()).fold(String::new(), |path, name| path + "/" + name)
}

/// Escapes (RFC 3986, section 2.1) as what they stand for; a percent sign that begins none stays.
fn decoded(path: &[u8]) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, after @ ..] if *first == b'%' => {
                let byte = hex(*high).zip(hex(*low)).and_then(|(h, l)| u8::try_from(h << 4 | l).ok());
                byte.map(|byte| (byte, after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        decoded.push(byte);
        rest = after;
    }
    decoded
}

fn is_at_or_below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
}

/// See [the module](super) for its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EgressRule {
    verdict: Verdict,
    only_udp: bool,
    target: Target,
    ports: Option<PortRange>,
    http: Option<HttpMatch>,
}

/// The longest text of a rule, in bytes.
const MAX: usize = 1024;

impl EgressRule {
    /// A rule about every port of `target`.
    #[must_use]
    pub const fn of(verdict: Verdict, target: Target) -> Self {
        Self { verdict, only_udp: false, target, ports: None, http: None }
    }

    /// The rule of `text` behind `--allow` or `--deny`, which says the verdict.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid) for what is no rule.
    pub fn parse(verdict: Verdict, text: &str) -> Result<Self> {
        Self::read(verdict, text)?.meant()
    }

    /// Itself, unless a method in it is a slip of the pen. Not asked of what was written down: a sandbox made before this was
    /// asked can still be read.
    fn meant(self) -> Result<Self> {
        let methods = self.http.iter().flat_map(|http| &http.methods);
        methods.map(String::as_str).try_for_each(check_method)?;
        Ok(self)
    }

    fn read(verdict: Verdict, text: &str) -> Result<Self> {
        if text.len() > MAX {
            return Err(Error::invalid("the network rule is longer than 1024 bytes"));
        }
        let mut words = text.split_ascii_whitespace();
        let (methods, place) = match (words.next(), words.next(), words.next()) {
            (Some(place), None, _) => (Vec::new(), place),
            (Some(list), Some(place), None) => (methods(list)?, place),
            _ => return Err(malformed(text)),
        };
        let (only_udp, place) = match place.strip_prefix(UDP) {
            Some(place) => (true, place),
            None => (false, place),
        };
        let (target, ports, path) = place_of(place)?;
        let http = (!methods.is_empty() || path.is_some()).then_some(HttpMatch { methods, path });
        if http.is_some() && target.name().is_none() {
            return Err(Error::invalid(format!(
                "the network rule '{}' is about requests, and names no host",
                printable(text)
            ))
            .with_hint("write a name in place of addresses, such as 'GET api.example.com/v1'"));
        }
        if http.is_some() && only_udp {
            return Err(Error::invalid(format!(
                "the network rule '{}' is about requests, which the gateway does not read in UDP",
                printable(text)
            ))
            .with_hint("leave out methods and path, or 'udp:'"));
        }
        if only_udp && verdict == Verdict::Allow && ports.is_some_and(|ports| ports.is_only(DNS)) {
            return Err(Error::invalid(format!(
                "the network rule '{}' would let questions of DNS out, which are the gateway's own",
                printable(text)
            ))
            .with_hint("leave it out: names are looked up without a rule"));
        }
        Ok(Self { verdict, only_udp, target, ports, http })
    }

    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// `None`: all ports.
    #[must_use]
    pub const fn ports(&self) -> Option<PortRange> {
        self.ports
    }

    /// `None`: the rule is about the connection, whatever is said over it.
    #[must_use]
    pub const fn http(&self) -> Option<&HttpMatch> {
        self.http.as_ref()
    }

    /// Whether the rule begins with `udp:`.
    #[must_use]
    pub const fn is_only_udp(&self) -> bool {
        self.only_udp
    }

    /// Whether the rule can be about what goes to `port`. One without `udp:` lets no UDP out; what it denies, it denies
    /// whatever it comes over.
    #[must_use]
    pub fn is_about(&self, protocol: Protocol, port: u16) -> bool {
        let carried = match protocol {
            Protocol::Tcp => !self.only_udp,
            Protocol::Udp => self.only_udp || self.verdict == Verdict::Deny || self.http.is_some(),
        };
        carried && self.ports.is_none_or(|ports| ports.contains(port))
    }
}

fn malformed(text: &str) -> Error {
    Error::invalid(format!("'{}' is not a network rule", printable(text)))
        .with_hint("write TARGET[:PORT], such as api.example.com:443, or METHOD TARGET/PATH")
}

fn methods(list: &str) -> Result<Vec<String>> {
    let valid =
        |m: &str| (1..=32).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    let methods: Vec<&str> = list.split(',').collect();
    if methods.iter().copied().all(valid) {
        return Ok(methods.into_iter().map(str::to_ascii_uppercase).collect());
    }
    Err(Error::invalid(format!("'{}' is not a list of methods", printable(list)))
        .with_hint("write them with commas, such as GET,HEAD"))
}

/// What requests are made with: IANA's registry of methods, and what caches have. A program may have others of its own.
const METHODS: [&str; 41] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "OPTIONS",
    "ORDERPATCH",
    "PATCH",
    "POST",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// A method that nobody uses is about no request: a rule that denies it would look as if it held.
fn check_method(method: &str) -> Result<()> {
    let is = |known: &&str| known.eq_ignore_ascii_case(method);
    if ["allow", "deny"].iter().any(is) {
        return Err(Error::invalid(format!("'{method}' stands where a network rule has its methods"))
            .with_hint("leave it out behind --allow and --deny, which say it"));
    }
    match crate::suggest::nearest(method, METHODS) {
        Some(near) if !METHODS.iter().any(is) => {
            Err(Error::invalid(format!("'{method}' is no method of HTTP"))
                .with_hint(format!("did you mean '{near}'?")))
        }
        _ => Ok(()),
    }
}

/// `TARGET[:PORTS][/PATH]`.
fn place_of(place: &str) -> Result<(Target, Option<PortRange>, Option<String>)> {
    // A block has a slash of its own, and an address of IPv6 colons.
    if let Ok(target @ Target::Addresses(_)) = place.parse() {
        return Ok((target, None, None));
    }
    let (authority, path) = match place.find('/') {
        Some(at) if !is_block(place) => (&place[..at], Some(path_of(&place[at..])?)),
        _ => (place, None),
    };
    let (target, ports) = match authority.rsplit_once(':') {
        Some((target, ports)) => (target, Some(ports.parse()?)),
        None => (authority, None),
    };
    Ok((target.parse()?, ports, path))
}

/// Whether what stands before the first slash is an address.
fn is_block(place: &str) -> bool {
    let base = place.split('/').next().unwrap_or_default();
    base.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok()
}

/// Only what a request can show: no query, no escapes, no dot segments.
fn path_of(path: &str) -> Result<String> {
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"%?#\\".contains(&b));
    let dots = path.split('/').any(|s| s == "." || s == "..");
    if plain && !dots && !path.contains("//") {
        return Ok(path.to_owned());
    }
    Err(Error::invalid(format!("'{}' is not a path that a rule can be about", printable(path)))
        .with_hint("write it plainly, such as /v1/models; without a query, '%', '..' or '//'"))
}

impl FromStr for EgressRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::try_from(text.to_owned())?.meant()
    }
}

impl TryFrom<String> for EgressRule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        let text = text.trim_ascii();
        match text.split_once(|c: char| c.is_ascii_whitespace()) {
            Some(("allow", rest)) => Self::read(Verdict::Allow, rest),
            Some(("deny", rest)) => Self::read(Verdict::Deny, rest),
            _ => Err(Error::invalid(format!(
                "the network rule '{}' does not begin with a verdict",
                printable(text)
            ))
            .with_hint("write 'allow TARGET' or 'deny TARGET'")),
        }
    }
}

impl From<EgressRule> for String {
    fn from(rule: EgressRule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.verdict.as_str())?;
        let http = self.http.as_ref();
        if let Some(http) = http.filter(|http| !http.methods.is_empty()) {
            write!(f, "{} ", http.methods.join(","))?;
        }
        f.write_str(if self.only_udp { UDP } else { "" })?;
        match (&self.target, self.ports) {
            // The colon of a port must not be one of the address.
            (Target::Addresses(block), Some(ports)) if block.to_string().contains(':') => {
                write!(f, "[{block}]:{ports}")?;
            }
            (target, Some(ports)) => write!(f, "{target}:{ports}")?,
            (target, None) => target.fmt(f)?,
        }
        f.write_str(http.and_then(|http| http.path.as_deref()).unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
