//! What the gateway tells about each connection.

use crate::policy::Reason;
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

/// Is told of every TCP connection of the sandbox, once, when it has ended. Called from the gateway's tasks: it must
/// not block.
pub trait Observer: Send + Sync + fmt::Debug {
    fn connection(&self, connection: &Connection);
}

/// One TCP connection, from its acceptance to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub started: SystemTime,
    pub lasted: Duration,
    /// Where the sandbox meant to go.
    pub destination: SocketAddr,
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
    destination: SocketAddr,
    started: SystemTime,
    clock: Instant,
    pub(crate) outcome: Outcome,
    pub(crate) sent: Counter,
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
}

impl Ledger {
    pub(crate) fn open(observer: Option<Arc<dyn Observer>>, destination: SocketAddr) -> Self {
        Self {
            observer,
            destination,
            started: SystemTime::now(),
            clock: Instant::now(),
            outcome: Outcome::Cut,
            sent: Counter::default(),
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
            destination: self.destination,
            outcome: self.outcome,
            sent: self.sent.0.load(Ordering::Relaxed),
            received: self.received.0.load(Ordering::Relaxed),
        });
    }
}
