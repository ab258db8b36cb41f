//! A question through the list of resolvers.

use super::{
    message::{Query, Rcode, asks_elsewhere},
    resolvers::Resolvers,
    upstream,
};
use std::{io, time::Duration};
use tokio::time::timeout;

/// For all attempts together. Nobody inside waits longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks the host's resolvers.
#[derive(Debug)]
pub(crate) struct Forwarder {
    resolvers: Resolvers,
    has_ipv6_road: fn() -> bool,
}

impl Forwarder {
    pub(crate) const fn new(resolvers: Resolvers, has_ipv6_road: fn() -> bool) -> Self {
        Self { resolvers, has_ipv6_road }
    }

    /// The answer of a resolver, as it came; `None` when there is none.
    ///
    /// Where this machine has no road to IPv6, names have no IPv6 addresses: a connection of the sandbox is accepted
    /// before the outside is tried, so a program that prefers IPv6 would never fall back to IPv4.
    ///
    /// `failed` is told why resolvers were not asked.
    pub(super) async fn answer(&self, query: &Query, failed: impl Fn(&io::Error)) -> Option<Vec<u8>> {
        if !self.asks_outside(query) {
            return Some(query.reply(Rcode::NoError));
        }
        timeout(PATIENCE, self.ask(query, failed)).await.ok().flatten()
    }

    /// Whether `query` leaves this machine to be answered.
    pub(super) fn asks_outside(&self, query: &Query) -> bool {
        !query.asks_for_ipv6() || (self.has_ipv6_road)()
    }

    /// The first good answer, else the last failure that a resolver owned up to.
    async fn ask(&self, query: &Query, failed: impl Fn(&io::Error)) -> Option<Vec<u8>> {
        let mut failure = None;
        for _ in 0..self.resolvers.attempts {
            for server in &self.resolvers.servers {
                match upstream::ask(*server, query, self.resolvers.timeout).await {
                    Ok(answer) if asks_elsewhere(&answer) => failure = Some(answer),
                    Ok(answer) => return Some(answer),
                    // Silent, unreachable or lying: the next one may be better.
                    Err(e) => failed(&e),
                }
            }
            // Resolvers that answered will say the same again.
            if failure.is_some() {
                break;
            }
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `www. kind IN`, without EDNS.
    fn query(kind: u8) -> Query {
        let mut message = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&[3, b'w', b'w', b'w', 0, 0, kind, 0, 1]);
        Query::parse(&message).unwrap()
    }

    #[tokio::test]
    async fn without_a_road_to_ipv6_names_have_no_ipv6_addresses() {
        // Without resolvers, nobody answers what is asked of them: the difference shows who answered.
        let rcodes = async |has_road: fn() -> bool| {
            let forwarder = Forwarder::new(Resolvers::new(Vec::new()), has_road);
            let mut rcodes = Vec::new();
            for kind in [1, 28] {
                let answer = forwarder.answer(&query(kind), |_| {}).await;
                rcodes.push(answer.map(|answer| (answer[3] & 0xf, answer[6..8].to_vec())));
            }
            rcodes
        };
        assert_eq!(rcodes(|| false).await, [None, Some((0, vec![0, 0]))]);
        assert_eq!(rcodes(|| true).await, [None, None]);
    }
}
