//! UDP of a sandbox that is no DNS: each pair of ends has a socket of its own outside, which answers come back through.
//!
//! Nothing waits in a queue here: what finds no room in a socket is lost, as datagrams are.

use crate::{
    destination::Destination,
    gateway::Shared,
    observer::{Counter, Ledger, Outcome},
    patience::Patience,
    reason::Reason,
    ruleset::{Ruleset, Ruling},
};
use agentkernel_backend::{Ends, Packet, Uplink};
use agentkernel_model::egress::{EgressRule, Protocol};
use rustix::{
    io::Errno,
    net::{SendFlags, send},
};
use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, JoinSet},
    time::{Duration, Instant, sleep_until},
};

/// The longest payload of a datagram of IPv6.
const MAX_PAYLOAD: usize = 65_527;
/// A destination that nothing went to is told once in this time.
const QUIET: Duration = Duration::from_secs(60);
/// Such destinations that are known; beyond that they may be told again.
const MAX_TOLD: usize = 256;
/// What goes here is the gateway's to answer. The sandbox's kernel sends it there, but for what it takes for an answer, such as
/// to a datagram that the sandbox sent to itself from the outside's place.
const DNS_PORT: u16 = 53;

/// What goes between two ends, while it does.
struct Pair {
    socket: UdpSocket,
    ends: Ends,
    /// Those that let it out.
    rules: Arc<Ruleset>,
    sent: Arc<Counter>,
    used: Mutex<Instant>,
}

impl Pair {
    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Entry {
    pair: Arc<Pair>,
    task: AbortHandle,
    number: u64,
}

struct Table<'a> {
    shared: &'a Arc<Shared>,
    uplink: &'a Arc<dyn Uplink>,
    entries: HashMap<Ends, Entry>,
    /// Each resolves to what it was about.
    tasks: JoinSet<(Ends, u64)>,
    next: u64,
    told: HashMap<SocketAddr, Instant>,
}

/// Serves all of `uplink`, until it ends. Every task started here ends with this future.
pub(crate) async fn serve(shared: &Arc<Shared>, uplink: &Arc<dyn Uplink>) {
    let mut table = Table {
        shared,
        uplink,
        entries: HashMap::new(),
        tasks: JoinSet::new(),
        next: 0,
        told: HashMap::new(),
    };
    let mut patience = Patience::new();
    loop {
        let packet = tokio::select! {
            Some(ended) = table.tasks.join_next() => {
                table.forget(ended.ok());
                continue;
            }
            packet = uplink.packet() => packet,
        };
        match packet {
            Ok(packet) => {
                patience.renew();
                table.take(packet).await;
            }
            Err(e) => {
                shared.check(&e);
                if !patience.endure(&e).await {
                    return;
                }
            }
        }
    }
}

impl Table<'_> {
    fn forget(&mut self, ended: Option<(Ends, u64)>) {
        let Some((ends, number)) = ended else { return };
        // Others may have come in its place.
        if self.entries.get(&ends).is_some_and(|entry| entry.number == number) {
            self.entries.remove(&ends);
        }
    }

    async fn take(&mut self, packet: Packet) {
        let (ends, rules) = (packet.ends, self.shared.rules());
        if let Some(entry) = self.entries.get(&ends) {
            // Other rules hold at once.
            if Arc::ptr_eq(&entry.pair.rules, &rules) {
                self.send(&Arc::clone(&entry.pair), &packet.payload);
                return;
            }
            entry.task.abort();
            self.entries.remove(&ends);
        }
        match self.open(ends, rules).await {
            Some(pair) => self.send(&pair, &packet.payload),
            None => self.uplink.reject(ends),
        }
    }

    fn send(&self, pair: &Pair, payload: &[u8]) {
        pair.touch();
        // The kernel itself is asked: the runtime does not know yet whether a new socket can be written.
        match send(&pair.socket, payload, SendFlags::DONTWAIT) {
            Ok(count) => pair.sent.add(count),
            // Somebody outside said so about a datagram before this one.
            Err(Errno::CONNREFUSED) => self.uplink.reject(pair.ends),
            Err(_) => {}
        }
    }

    /// A socket for `ends`, if the rules let it out.
    async fn open(&mut self, ends: Ends, rules: Arc<Ruleset>) -> Option<Arc<Pair>> {
        let to = self.shared.destination(ends.outside).over(Protocol::Udp);
        let names = self.shared.pins.names(to.address.ip(), std::time::Instant::now());
        let (rule, opened) = match judge(&rules, &to, &names) {
            (rule, Some(reason)) => (rule, Err(Outcome::Refused(reason))),
            (rule, None) => (rule, connected(to.address).await.map_err(|e| Outcome::Unreachable(e.kind()))),
        };
        if opened.is_err() && self.was_told(ends.outside) {
            return None;
        }
        let mut ledger = Ledger::open(self.shared.observer.clone(), ends.outside, Protocol::Udp);
        ledger.rule = rule.map(ToString::to_string);
        if let [name] = names.as_slice() {
            ledger.name = Some(name.to_string());
        }
        match opened {
            Ok(socket) => Some(self.keep(ends, rules, socket, ledger)),
            Err(outcome) => {
                ledger.outcome = outcome;
                None
            }
        }
    }

    fn keep(&mut self, ends: Ends, rules: Arc<Ruleset>, socket: UdpSocket, ledger: Ledger) -> Arc<Pair> {
        if self.entries.len() >= self.shared.limits.pairs {
            self.let_go();
        }
        let used = Mutex::new(Instant::now());
        let pair = Arc::new(Pair { socket, ends, rules, sent: Arc::clone(&ledger.sent), used });
        let (number, idle) = (self.next, self.shared.limits.pair_idle);
        self.next += 1;
        let (shared, uplink, own) = (Arc::clone(self.shared), Arc::clone(self.uplink), Arc::clone(&pair));
        let task = self.tasks.spawn(async move {
            answers(&own, &shared, uplink.as_ref(), ledger, idle).await;
            (ends, number)
        });
        self.entries.insert(ends, Entry { pair: Arc::clone(&pair), task, number });
        pair
    }

    /// Ends the one that was silent for the longest.
    fn let_go(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.pair.used());
        if let Some(ends) = oldest.map(|(ends, _)| *ends)
            && let Some(entry) = self.entries.remove(&ends)
        {
            entry.task.abort();
        }
    }

    /// Whether it was told a short time ago that nothing went to `outside`.
    fn was_told(&mut self, outside: SocketAddr) -> bool {
        let now = Instant::now();
        if self.told.get(&outside).is_some_and(|told| now.duration_since(*told) < QUIET) {
            return true;
        }
        if self.told.len() >= MAX_TOLD {
            self.told.retain(|_, told| now.duration_since(*told) < QUIET);
        }
        if self.told.len() >= MAX_TOLD {
            self.told.clear();
        }
        self.told.insert(outside, now);
        false
    }
}

/// The rule that decides, and why not where nothing is let out.
fn judge<'a>(
    rules: &'a Ruleset,
    to: &Destination,
    names: &[Arc<str>],
) -> (Option<&'a EgressRule>, Option<Reason>) {
    if to.address.port() == DNS_PORT {
        return (None, Some(Reason::Resolver));
    }
    match rules.rule_unnamed(to, names.iter().map(AsRef::as_ref)) {
        Ruling::Allow(rule) => (rule, None),
        Ruling::Inspect(_) => (None, Some(Reason::Unreadable)),
        Ruling::Deny(rule, reason) => (rule, Some(reason)),
    }
}

/// Takes answers in, until neither side has said anything for as long as `idle`, or other rules hold: then the sandbox asks anew.
async fn answers(pair: &Pair, shared: &Shared, uplink: &dyn Uplink, mut ledger: Ledger, idle: Duration) {
    loop {
        let due = pair.used() + idle;
        tokio::select! {
            ready = pair.socket.readable() => {
                if !Arc::ptr_eq(&pair.rules, &shared.rules()) {
                    return;
                }
                if let Err(e) = ready.and_then(|()| receive(pair, uplink, &ledger)) {
                    ledger.outcome = Outcome::Broken(e.kind());
                    return;
                }
            }
            () = sleep_until(due) => {
                if pair.used() + idle <= Instant::now() {
                    ledger.outcome = Outcome::Closed;
                    return;
                }
            }
        }
    }
}

/// One datagram, if there is one.
fn receive(pair: &Pair, uplink: &dyn Uplink, ledger: &Ledger) -> io::Result<()> {
    let mut buffer = vec![0; MAX_PAYLOAD];
    match pair.socket.try_recv(&mut buffer) {
        Ok(count) => {
            pair.touch();
            ledger.received.add(count);
            uplink.deliver(pair.ends, &buffer[..count]);
            Ok(())
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
        // An ICMP error, which the sandbox is told as well.
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            uplink.reject(pair.ends);
            Ok(())
        }
        Err(e) => Err(e),
    }
}

/// A socket that hears nobody but `target`.
async fn connected(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}
