//! What an address is to the rules.

use crate::{ranges, reason::Reason};
use agentkernel_model::egress::{Group, Protocol};
use std::net::{IpAddr, SocketAddr};

/// An address that the sandbox wants to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destination {
    /// IPv4 for an address that is mapped (RFC 4291): a machine without IPv6 can reach it.
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    /// `None` is for addresses that only a rule about addresses can allow, such as multicast.
    pub(crate) group: Option<Group>,
    /// Why it is not public.
    pub(crate) reason: Option<Reason>,
}

impl Destination {
    /// Over TCP. `is_own` says whether an address is one of this machine.
    pub(crate) fn of(meant: SocketAddr, is_own: impl Fn(IpAddr) -> bool) -> Self {
        let ip = meant.ip().to_canonical();
        let address = SocketAddr::new(ip, meant.port());
        let reason = ranges::refusal(ip);
        let translated = ranges::destination(ip) != ip;
        let group = match reason {
            // Behind a translator (NAT64), 127.0.0.1 is the translator: no rule about this machine means that.
            Some(_) if translated => None,
            // Nobody lists it, and yet connecting to 0.0.0.0 or :: reaches this machine.
            Some(Reason::Loopback | Reason::Unspecified) => Some(Group::Host),
            Some(Reason::Metadata) => Some(Group::Metadata),
            // Whatever a machine may be given: laboratories and clouds use the ranges of documents and tests as well.
            None
            | Some(
                Reason::Private
                | Reason::Shared
                | Reason::LinkLocal
                | Reason::Documentation
                | Reason::Benchmarking
                | Reason::Reserved,
            ) if is_own(ip) => Some(Group::Host),
            Some(Reason::Private | Reason::Shared | Reason::LinkLocal) => Some(Group::Private),
            None => Some(Group::Public),
            Some(_) => None,
        };
        let own =
            group == Some(Group::Host) && !matches!(reason, Some(Reason::Loopback | Reason::Unspecified));
        let reason = if own { Some(Reason::ThisMachine) } else { reason };
        Self { address, protocol: Protocol::Tcp, group, reason }
    }

    /// On a network of this machine. IPv6 gives its neighbours, a printer as well as a router, public addresses.
    pub(crate) fn nearby(self) -> Self {
        if !self.is_public() {
            return self;
        }
        Self { group: Some(Group::Private), reason: Some(Reason::Neighbour), ..self }
    }

    pub(crate) fn over(self, protocol: Protocol) -> Self {
        Self { protocol, ..self }
    }

    pub(crate) fn is_public(&self) -> bool {
        self.group == Some(Group::Public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_its_own_in_whatever_range() {
        for text in ["93.184.215.14", "10.0.0.1", "192.0.2.2", "198.18.0.1", "240.0.0.1", "2001:db8::1"] {
            let to = Destination::of(SocketAddr::new(text.parse().unwrap(), 80), |_| true);
            assert_eq!((to.group, to.reason), (Some(Group::Host), Some(Reason::ThisMachine)), "{text}");
        }
        // The kernel lets a socket have these names too, and they are none of a machine.
        for text in ["224.0.0.1", "255.255.255.255"] {
            let to = Destination::of(SocketAddr::new(text.parse().unwrap(), 80), |_| true);
            assert_eq!(to.group, None, "{text}");
        }
    }

    #[test]
    fn a_neighbour_is_private_whatever_its_number() {
        for (text, group, reason) in [
            ("2606:4700::1111", Some(Group::Private), Reason::Neighbour),
            ("93.184.215.14", Some(Group::Private), Reason::Neighbour),
            ("10.9.9.8", Some(Group::Private), Reason::Private),
            ("169.254.169.254", Some(Group::Metadata), Reason::Metadata),
            ("224.0.0.1", None, Reason::Multicast),
        ] {
            let to = Destination::of(SocketAddr::new(text.parse().unwrap(), 80), |_| false).nearby();
            assert_eq!((to.group, to.reason), (group, Some(reason)), "{text}");
        }
    }

    #[test]
    fn every_kind_of_address_has_its_group() {
        let own: IpAddr = "10.9.9.9".parse().unwrap();
        for (text, group) in [
            ("93.184.215.14", Some(Group::Public)),
            ("10.9.9.9", Some(Group::Host)),
            ("10.9.9.8", Some(Group::Private)),
            ("100.64.0.1", Some(Group::Private)),
            ("169.254.1.1", Some(Group::Private)),
            ("fd00::1", Some(Group::Private)),
            ("127.0.0.1", Some(Group::Host)),
            ("0.0.0.0", Some(Group::Host)),
            ("::", Some(Group::Host)),
            ("::1", Some(Group::Host)),
            ("::ffff:127.0.0.1", Some(Group::Host)),
            ("64:ff9b::7f00:1", None),
            ("64:ff9b::5db8:d70e", Some(Group::Public)),
            ("169.254.169.254", Some(Group::Metadata)),
            ("::ffff:169.254.169.254", Some(Group::Metadata)),
            ("224.0.0.1", None),
            ("192.0.2.54", None),
        ] {
            let to = Destination::of(SocketAddr::new(text.parse().unwrap(), 80), |ip| ip == own);
            assert_eq!(to.group, group, "{text}");
            assert_eq!(to.reason.is_none(), to.is_public(), "{text}");
        }
    }
}
