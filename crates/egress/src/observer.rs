//! What the gateway tells about each connection.

use crate::{reason::Reason, shortage::Shortage};
use agentkernel_model::{egress::Protocol, secret::SecretName};
use std::{
    fmt,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Is told what the sandbox does outside, each thing once, when it has ended. Called from the gateway's tasks: it must
/// not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A TCP connection, or what went over UDP between two ends.
    fn connection(&self, connection: &Connection);

    /// A question of DNS that was asked outside, with this name in it.
    fn asked_name(&self, name: &str);

    /// A question of DNS that was refused: `rule` says so, or none lets its name out.
    fn refused_name(&self, name: &str, rule: Option<&str>);

    /// A request of HTTP that the gateway read: in clear, in TLS that it opened, or as a proxy.
    fn request(&self, request: &Request);

    /// There is none left of something, which is told again when it still is so after a minute.
    fn shortage(&self, _: Shortage) {}

    /// The gateway has finished: everything was told.
    fn finished(&self) {}
}

/// One request of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub at: SystemTime,
    /// The host that was meant.
    pub host: String,
    pub address: SocketAddr,
    pub method: String,
    /// Without its query.
    pub path: String,
    /// What the other side answered; `None` where it was not asked, or did not answer.
    pub status: Option<u16>,
    /// The rule that decided, as it is written; `None` where none was about it, or it was not asked for one.
    pub rule: Option<String>,
    /// Why it, or its answer, was not passed on. Where there is a status, or a secret went along, it went out before.
    pub refused: Option<String>,
    /// The secrets that went with it.
    pub secrets: Vec<SecretName>,
}

/// One TCP connection, from its acceptance to its end; or UDP between two ends, from the first datagram until there was silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub started: SystemTime,
    pub lasted: Duration,
    pub protocol: Protocol,
    /// Where the sandbox meant to go.
    pub destination: SocketAddr,
    /// What TLS, HTTP or a request to the proxy called it; else a name that led to the address, where there is just one.
    pub name: Option<String>,
    /// The rule that decided, as it is written; `None` where none was about it.
    pub rule: Option<String>,
    pub outcome: Outcome,
    /// Bytes from the sandbox that were passed on.
    pub sent: u64,
    /// Bytes that were passed on to the sandbox.
    pub received: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The policy said no; nothing left the machine.
    Refused(Reason),
    /// DNS over TCP: the gateway answered it itself.
    Resolver,
    /// Allowed, but nobody was reached.
    Unreachable(ErrorKind),
    /// Both sides finished.
    Closed,
    /// One side broke off.
    Broken(ErrorKind),
    /// The sandbox or the gateway ended first.
    Cut,
}

/// The account of one connection. Dropping it tells the observer, so that a cancelled task tells too.
pub(crate) struct Ledger {
    observer: Option<Arc<dyn Observer>>,
    protocol: Protocol,
    destination: SocketAddr,
    started: SystemTime,
    clock: Instant,
    pub(crate) name: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) outcome: Outcome,
    /// Counted by another task where datagrams go.
    pub(crate) sent: Arc<Counter>,
    pub(crate) received: Counter,
}

/// Bytes that were passed on, counted while they are.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, bytes: usize) {
        // A usize is at most 64 bits wide on every target of this project.
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Ledger {
    pub(crate) fn open(
        observer: Option<Arc<dyn Observer>>,
        destination: SocketAddr,
        protocol: Protocol,
    ) -> Self {
        Self {
            observer,
            protocol,
            destination,
            started: SystemTime::now(),
            clock: Instant::now(),
            name: None,
            rule: None,
            outcome: Outcome::Cut,
            sent: Arc::default(),
            received: Counter::default(),
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let Some(observer) = &self.observer else { return };
        observer.connection(&Connection {
            started: self.started,
            lasted: self.clock.elapsed(),
            protocol: self.protocol,
            destination: self.destination,
            name: self.name.take(),
            rule: self.rule.take(),
            outcome: self.outcome,
            sent: self.sent.get(),
            received: self.received.get(),
        });
    }
}
