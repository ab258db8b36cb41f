//! What arrived at a server, exactly.

use std::{
    net::SocketAddr,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// One request, as the server read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Counted from 1; requests of one connection share it.
    pub connection: usize,
    pub peer: SocketAddr,
    /// What TLS asked for.
    pub sni: Option<String>,
    /// Such as `HTTP/1.1`.
    pub version: String,
    pub method: String,
    /// Of HTTP/2, or of an absolute form.
    pub authority: Option<String>,
    /// With its query.
    pub path: String,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body_bytes: u64,
    /// In hex.
    pub body_sha256: String,
}

impl Seen {
    /// Every value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

#[derive(Debug, Default)]
struct State {
    connections: usize,
    requests: Vec<Seen>,
    faults: Vec<String>,
}

/// The record of one server.
#[derive(Debug, Default)]
pub struct Record {
    state: Mutex<State>,
    changed: Condvar,
}

impl Record {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
        value
    }

    /// A connection was taken; its number.
    pub(super) fn connected(&self) -> usize {
        self.change(|state| {
            state.connections += 1;
            state.connections
        })
    }

    pub(super) fn request(&self, seen: Seen) {
        self.change(|state| state.requests.push(seen));
    }

    /// What a connection ended with before its time.
    pub(super) fn fault(&self, why: String) {
        self.change(|state| state.faults.push(why));
    }

    #[must_use]
    pub fn connections(&self) -> usize {
        self.change(|state| state.connections)
    }

    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.change(|state| state.requests.clone())
    }

    /// Handshakes that failed, and requests that could not be read.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.change(|state| state.faults.clone())
    }

    /// Whether nobody ever came.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.connections() == 0
    }

    /// Waits until `count` requests are here, at most for `time`; whether they are.
    #[must_use]
    pub fn has_requests(&self, count: usize, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, time, |state| state.requests.len() < count);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
