//! Why a connection is refused, in words.

use std::fmt;

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
    /// An address with a public number, on a network that this machine is on.
    Neighbour,
    /// Let through by no rule.
    NotListed,
    /// A rule forbids it.
    Denied,
    /// Rules are about its requests, and what was said is no HTTP that can be read.
    Unreadable,
    /// The gateway has nothing left to connect by, see [`Shortage`](crate::Shortage).
    Short,
    /// Datagrams to a server of DNS: the gateway answers those itself.
    Resolver,
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
            Self::Neighbour => "on a network of this machine",
            Self::NotListed => "not among the hosts that this sandbox may reach",
            Self::Denied => "denied by a rule",
            Self::Unreadable => "open for HTTP and TLS with a name only",
            Self::Short => "out of reach while the gateway has nothing left to connect by",
            Self::Resolver => "a server of DNS, and the gateway alone asks those",
        })
    }
}
