//! One line of the log of connections. What it holds came out of a sandbox: every field is bounded.

use crate::{
    audit::{MAX_LINE, cut},
    clock,
};
use agentkernel_egress::{Connection, Outcome, Request, Shortage};
use agentkernel_model::{Error, Result, egress::Protocol};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// JSON bytes of a name of a host: DNS has none longer than 255 (RFC 1035, 2.3.4).
const HOST: usize = 256;
/// JSON bytes of a name in a question, where any byte can stand: as `\DDD` it has four, and its backslash two.
const QUESTION: usize = 255 * 5;
const RULE: usize = 512;
const REASON: usize = 256;
const METHOD: usize = 64;
const PATH: usize = 512;
/// JSON bytes of the names of secrets that went along.
const SECRETS: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Connection,
    /// A name that was asked about outside.
    Name,
    RefusedName,
    Request,
    /// The gateway ran out of something.
    Shortage,
    /// There were more than could be written.
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Allowed,
    Blocked,
}

/// Whether an entry can be crowded out by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Something went out, or was to.
    Heavy,
    /// A question of DNS went out: a sandbox has any number of those for little, and they can carry anything.
    Name,
    /// The gateway said no, or answered itself: a sandbox has any number of those for nothing.
    Light,
}

/// What happened, before it has a place in a chain.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Entry {
    timestamp: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// The host that was meant, where it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// `udp`; TCP goes without saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Why it was blocked, or did not end as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Names only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    /// Of a name: so many more questions about it, which have no lines of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<u64>,
    #[serde(skip)]
    weight: Weight,
    /// What was blocked, for the log of events.
    #[serde(skip)]
    to: Option<String>,
}

impl Entry {
    fn new(kind: Kind, at: SystemTime) -> Self {
        Self {
            timestamp: timestamp(at),
            kind,
            verdict: None,
            name: None,
            address: None,
            port: None,
            protocol: None,
            rule: None,
            reason: None,
            method: None,
            path: None,
            status: None,
            secrets: Vec::new(),
            sent: None,
            received: None,
            duration_ms: None,
            lost: None,
            more: None,
            weight: Weight::Heavy,
            to: None,
        }
    }

    fn at(mut self, name: Option<&str>, address: SocketAddr) -> Self {
        self.name = name.map(|name| cut(name, HOST));
        self.address = Some(address.ip());
        self.port = Some(address.port());
        self
    }

    fn blocked_if(mut self, blocked: bool) -> Self {
        self.verdict = Some(if blocked { Verdict::Blocked } else { Verdict::Allowed });
        if blocked {
            self.weight = Weight::Light;
            let host = self.name.clone().or_else(|| self.address.map(|ip| ip.to_string()));
            let host = host.unwrap_or_default();
            self.to = Some(match self.port {
                Some(port) if host.contains(':') => format!("[{host}]:{port}"),
                Some(port) => format!("{host}:{port}"),
                None => host,
            });
        }
        self
    }

    pub(super) fn of_connection(connection: &Connection) -> Self {
        let Connection { started, lasted, protocol, destination, name, rule, outcome, sent, received } =
            connection;
        let entry = Self {
            protocol: (*protocol == Protocol::Udp).then_some("udp"),
            rule: rule.as_deref().map(|rule| cut(rule, RULE)),
            reason: reason(*outcome).map(|reason| cut(&reason, REASON)),
            sent: Some(*sent),
            received: Some(*received),
            duration_ms: Some(millis(*lasted)),
            ..Self::new(Kind::Connection, *started)
        };
        let entry =
            entry.at(name.as_deref(), *destination).blocked_if(matches!(outcome, Outcome::Refused(_)));
        match outcome {
            Outcome::Resolver => Self { weight: Weight::Light, ..entry },
            _ => entry,
        }
    }

    /// Refused by `rule`, or because there is none that lets it out.
    pub(super) fn of_name(name: &str, rule: Option<&str>) -> Self {
        let reason = if rule.is_some() { "denied by a rule" } else { "no rule lets it out" };
        let entry = Self::new(Kind::RefusedName, SystemTime::now());
        let rule = rule.map(|rule| cut(rule, RULE));
        Self { name: Some(cut(name, QUESTION)), rule, reason: Some(reason.to_owned()), ..entry }
            .blocked_if(true)
    }

    /// Asked about outside.
    pub(super) fn of_asked_name(name: &str) -> Self {
        let entry = Self::new(Kind::Name, SystemTime::now());
        let entry = Self { name: Some(cut(name, QUESTION)), ..entry }.blocked_if(false);
        Self { weight: Weight::Name, ..entry }
    }

    pub(super) fn of_request(request: &Request) -> Self {
        let mut room = SECRETS;
        let fits = |name: &String| {
            // Quotes and a comma; the grammar of names has nothing that JSON escapes.
            let fits = name.len() + 3 <= room;
            room = room.saturating_sub(name.len() + 3);
            fits
        };
        let secrets = request.secrets.iter().map(ToString::to_string).take_while(fits).collect();
        let entry = Self {
            rule: request.rule.as_deref().map(|rule| cut(rule, RULE)),
            // A sentence, which names the rule where one decided.
            reason: request.refused.as_deref().map(|why| cut(why, RULE)),
            method: Some(cut(&request.method, METHOD)),
            path: Some(cut(&request.path, PATH)),
            status: request.status,
            secrets,
            ..Self::new(Kind::Request, request.at)
        };
        // What went out did, whatever became of its answer.
        let went_out = request.status.is_some() || !request.secrets.is_empty();
        let is_blocked = request.refused.is_some() && !went_out;
        let mut entry = entry.at(Some(&request.host), request.address).blocked_if(is_blocked);
        if is_blocked && request.address.ip().is_unspecified() {
            // Refused by its name: nobody looked for its address.
            entry.address = None;
        }
        entry
    }

    pub(super) fn of_shortage(shortage: Shortage) -> Self {
        let reason = Some(shortage.to_string());
        Self { reason, ..Self::new(Kind::Shortage, SystemTime::now()) }
    }

    /// `more` questions about a name that was told before, with this weight, and why: other rules may hold since.
    pub(super) fn of_name_again(name: &str, more: u64, weight: Weight) -> Self {
        let entry = match weight {
            Weight::Name => Self::of_asked_name(name),
            Weight::Heavy | Weight::Light => Self::of_name(name, None),
        };
        Self { more: Some(more), reason: None, ..entry }
    }

    /// Stands for `count` others.
    pub(super) fn lost(count: u64, weight: Weight) -> Self {
        let (verdict, reason) = match weight {
            Weight::Heavy => (Verdict::Allowed, None),
            Weight::Name => (Verdict::Allowed, Some("names that were asked about".to_owned())),
            Weight::Light => (Verdict::Blocked, None),
        };
        let entry = Self::new(Kind::Lost, SystemTime::now());
        Self { lost: Some(count), verdict: Some(verdict), reason, weight, ..entry }
    }

    pub(super) const fn weight(&self) -> Weight {
        self.weight
    }

    /// How many entries this one is.
    pub(super) fn lines(&self) -> u64 {
        self.lost.or(self.more).unwrap_or(1)
    }

    /// Whether it says that others are missing.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.kind, Kind::Lost)
    }

    /// Whether it says what there was none of. Then that can be the reason that it cannot be written.
    pub(super) const fn is_shortage(&self) -> bool {
        matches!(self.kind, Kind::Shortage)
    }

    /// The name, where it was asked for and nothing else.
    pub(super) fn asked_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|_| matches!(self.kind, Kind::Name | Kind::RefusedName))
    }

    /// The destination, when it was blocked.
    pub(super) fn blocked(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// The rule that blocked it, or the reason.
    pub(super) fn why(&self) -> &str {
        self.rule.as_deref().or(self.reason.as_deref()).unwrap_or_default()
    }
}

fn reason(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Refused(reason) => Some(reason.to_string()),
        Outcome::Resolver => Some("answered by the gateway".to_owned()),
        Outcome::Unreachable(kind) => Some(format!("nobody was reached: {kind}")),
        Outcome::Broken(ErrorKind::InvalidData) => {
            Some("broken off: what came is no HTTP or TLS that can be read".to_owned())
        }
        Outcome::Broken(kind) => Some(format!("broken off: {kind}")),
        Outcome::Cut => Some("the sandbox or the gateway ended first".to_owned()),
        Outcome::Closed => None,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    clock::rfc3339_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A place in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// Counted from 0 in each chain.
    pub(super) seq: u64,
    /// SHA-256 of the line before, without its end, in hexadecimal.
    pub(super) prev: String,
}

impl Link {
    /// Of the first line.
    pub(super) fn first() -> Self {
        Self { seq: 0, prev: "0".repeat(64) }
    }

    /// Of the line behind `line`, whose own place is `self`.
    pub(super) fn after(&self, line: &[u8]) -> Self {
        Self { seq: self.seq.saturating_add(1), prev: hash(line) }
    }
}

/// SHA-256 of a line without its end, in hexadecimal.
pub(super) fn hash(line: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(line) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    sandbox: &'a str,
    seq: u64,
    prev: &'a str,
}

/// `entry` as a line of `sandbox`, without its end.
///
/// # Errors
/// When it would be too long, which the budgets of its parts rule out.
pub(super) fn line(entry: &Entry, sandbox: &str, link: &Link) -> Result<Vec<u8>> {
    let line = Line { entry, sandbox, seq: link.seq, prev: &link.prev };
    let bytes = serde_json::to_vec(&line)
        .map_err(|e| Error::internal("cannot encode a connection").with_source(e))?;
    if bytes.len() >= MAX_LINE {
        return Err(Error::internal(format!(
            "a connection of {} bytes is too long to be written",
            bytes.len()
        )));
    }
    Ok(bytes)
}
