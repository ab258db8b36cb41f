//! The host's resolvers, read from the text of resolv.conf(5).

use super::PORT;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

/// As glibc's MAXNS: more are ignored there as well.
const MAX_SERVERS: usize = 3;

/// Whom to ask, in order, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolvers {
    pub(super) servers: Vec<SocketAddr>,
    /// How long one server has for one attempt.
    pub(super) timeout: Duration,
    /// How often the list is gone through.
    pub(super) attempts: u32,
}

impl Resolvers {
    /// Asks `servers`, each twice and two seconds: stub resolvers inside give up after five, so the second server
    /// has its turn before. Without a server every question is answered with SERVFAIL at once.
    #[must_use]
    pub const fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, timeout: Duration::from_secs(2), attempts: 2 }
    }

    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The servers and options of `text`. Lines and options that are unknown or malformed are skipped, as resolv.conf(5)
    /// has it. Loopback servers (127.0.0.53) are good: the gateway asks on the host. `interface` gives the number of
    /// the interface of a link-local server (`fe80::1%eth0`).
    #[must_use]
    pub fn parse(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Self {
        let mut resolvers = Self::new(Vec::new());
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| server(word, &interface));
                    resolvers.servers.extend(server.filter(|_| resolvers.servers.len() < MAX_SERVERS));
                }
                Some("options") => words.for_each(|word| resolvers.set_option(word)),
                _ => {}
            }
        }
        resolvers
    }

    /// Both are kept within what a waiting stub resolver can still use.
    fn set_option(&mut self, option: &str) {
        let Some((name, Ok(value))) = option.split_once(':').map(|(n, v)| (n, v.parse::<u32>())) else {
            return;
        };
        match name {
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 5))),
            "attempts" => self.attempts = value.clamp(1, 3),
            _ => {}
        }
    }
}

fn server(word: &str, interface: &impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
    };
    let ip: Ipv6Addr = address.parse().ok()?;
    let scope = scope.parse().ok().or_else(|| interface(scope))?;
    Some(SocketAddr::V6(SocketAddrV6::new(ip, PORT, 0, scope)))
}

#[cfg(test)]
#[path = "resolvers_tests.rs"]
mod tests;
