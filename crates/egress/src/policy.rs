//! Which addresses a sandbox may connect to: a pure function of the address that it meant.

use crate::ranges;
use agentkernel_model::cidr::Cidr;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// What a [`Policy`] says of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Refuse(Reason),
}

/// Why a connection is refused. As text it completes the sentence "ADDRESS is ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Unspecified,
    Loopback,
    Private,
    /// Addresses that providers share behind their NAT, 100.64.0.0/10.
    Shared,
    LinkLocal,
    /// A service of a cloud platform that hands out credentials.
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    Benchmarking,
    Reserved,
    /// A tunnel or translation prefix: the connection would end at another address than the one shown.
    Transition,
    /// An address of this machine.
    ThisMachine,
    /// Outside the blocks of [`Policy::allowing`].
    NotListed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "no particular host",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "an address shared behind a provider's NAT",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a metadata service of a cloud platform",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "the broadcast address",
            Self::Documentation => "an address for documentation",
            Self::Benchmarking => "an address for benchmarks",
            Self::Reserved => "a reserved address",
            Self::Transition => "a tunnel or translation address",
            Self::ThisMachine => "an address of this machine",
            Self::NotListed => "not among the allowed addresses",
        })
    }
}

/// The rule of one sandbox.
#[derive(Debug, Clone)]
pub struct Policy(Rule);

#[derive(Debug, Clone)]
enum Rule {
    /// Globally reachable unicast addresses but these, which are the machine's own.
    Public(Vec<IpAddr>),
    /// These and no others.
    Listed(Vec<Cidr>),
}

impl Policy {
    /// Only globally reachable unicast addresses, and none of `own`, the addresses of this machine: a service that
    /// listens on all interfaces is not made for the sandbox because the machine has a public address.
    #[must_use]
    pub fn public(own: Vec<IpAddr>) -> Self {
        Self(Rule::Public(own.into_iter().map(|ip| ip.to_canonical()).collect()))
    }

    /// Only addresses in `blocks`, whatever kind they are: who lists 127.0.0.0/8 means it.
    #[must_use]
    pub const fn allowing(blocks: Vec<Cidr>) -> Self {
        Self(Rule::Listed(blocks))
    }

    /// The decision for a connection to `target`. The port makes no difference yet.
    #[must_use]
    pub fn decide(&self, target: SocketAddr) -> Decision {
        let refusal = match &self.0 {
            Rule::Public(own) => ranges::refusal(target.ip())
                .or_else(|| own.contains(&ranges::destination(target.ip())).then_some(Reason::ThisMachine)),
            Rule::Listed(blocks) => {
                let ip = target.ip().to_canonical();
                (!blocks.iter().any(|block| block.contains(ip))).then_some(Reason::NotListed)
            }
        };
        refusal.map_or(Decision::Allow, Decision::Refuse)
    }

    /// Whether this machine's addresses are refused whether or not they were known when the policy was made.
    pub(crate) const fn keeps_off_this_machine(&self) -> bool {
        matches!(self.0, Rule::Public(_))
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
