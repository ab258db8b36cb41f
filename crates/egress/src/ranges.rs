//! The addresses that are not for the public: the special-purpose registries of IANA as a table.
//!
//! Sources: RFC 6890 (the registries), the IANA IPv4 and IPv6 Special-Purpose Address Registries as of 2025, RFC 5771 and
//! RFC 4291 (multicast), and what cloud providers publish about their metadata services. A row whose registry entry
//! is "globally reachable: false" is refused; blocks that are deprecated or translate to another address are
//! refused as well, because what they reach is not what they show.

use crate::reason::Reason;
use agentkernel_model::cidr::Cidr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first row that matches decides, so single addresses stand before their block.
const SPECIAL: &[(Cidr, Reason)] = &[
    // Services of cloud platforms that hand credentials to whoever asks: AWS, Azure, GCP, OpenStack; Alibaba;
    // Azure's WireServer, which is a public address by its number only; AWS and GCP over IPv6; the roles of tasks of
    // AWS ECS; identities of pods of AWS EKS.
    (Cidr::v4(169, 254, 169, 254, 32), Reason::Metadata),
    (Cidr::v4(100, 100, 100, 200, 32), Reason::Metadata),
    (Cidr::v4(168, 63, 129, 16, 32), Reason::Metadata),
    (Cidr::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128), Reason::Metadata),
    (Cidr::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), Reason::Metadata),
    (Cidr::v4(169, 254, 170, 2, 32), Reason::Metadata),
    (Cidr::v4(169, 254, 170, 23, 32), Reason::Metadata),
    (Cidr::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128), Reason::Metadata),
    // IPv4.
    (Cidr::v4(0, 0, 0, 0, 8), Reason::Unspecified), // RFC 791, RFC 1122
    (Cidr::v4(10, 0, 0, 0, 8), Reason::Private),    // RFC 1918
    (Cidr::v4(100, 64, 0, 0, 10), Reason::Shared),  // RFC 6598
    (Cidr::v4(127, 0, 0, 0, 8), Reason::Loopback),  // RFC 1122
    (Cidr::v4(169, 254, 0, 0, 16), Reason::LinkLocal), // RFC 3927
    (Cidr::v4(172, 16, 0, 0, 12), Reason::Private), // RFC 1918
    (Cidr::v4(192, 0, 0, 0, 24), Reason::Reserved), // RFC 6890, IETF protocol assignments
    (Cidr::v4(192, 0, 2, 0, 24), Reason::Documentation), // RFC 5737
    (Cidr::v4(192, 88, 99, 0, 24), Reason::Transition), // RFC 7526, the deprecated 6to4 relay
    (Cidr::v4(192, 168, 0, 0, 16), Reason::Private), // RFC 1918
    (Cidr::v4(198, 18, 0, 0, 15), Reason::Benchmarking), // RFC 2544
    (Cidr::v4(198, 51, 100, 0, 24), Reason::Documentation), // RFC 5737
    (Cidr::v4(203, 0, 113, 0, 24), Reason::Documentation), // RFC 5737
    (Cidr::v4(224, 0, 0, 0, 4), Reason::Multicast), // RFC 5771
    (Cidr::v4(255, 255, 255, 255, 32), Reason::Broadcast), // RFC 919, RFC 8190
    (Cidr::v4(240, 0, 0, 0, 4), Reason::Reserved),  // RFC 1112
    // IPv6. What is outside 2000::/3 and named by no row is reserved, see `refusal`.
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 128), Reason::Unspecified), // RFC 4291
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 1], 128), Reason::Loopback),    // RFC 4291
    (Cidr::v6([0, 0, 0, 0, 0, 0, 0, 0], 96), Reason::Transition),   // RFC 4291, IPv4-compatible
    (Cidr::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), Reason::Transition), // RFC 8215, local-use translation
    (Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), Reason::Transition), // RFC 4380, Teredo
    (Cidr::v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), Reason::Benchmarking), // RFC 5180
    (Cidr::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), Reason::Reserved), // RFC 2928, IETF protocol assignments
    (Cidr::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), Reason::Documentation), // RFC 3849
    (Cidr::v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), Reason::Transition), // RFC 7526, 6to4
    (Cidr::v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), Reason::Documentation), // RFC 9637
    (Cidr::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), Reason::Private),  // RFC 4193, unique local
    (Cidr::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), Reason::LinkLocal), // RFC 4291
    (Cidr::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), Reason::Private), // RFC 3879, the former site-local
    (Cidr::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), Reason::Multicast), // RFC 4291
];

/// The only block from which global unicast addresses are handed out (RFC 3587, IANA IPv6 Address Space).
const GLOBAL_UNICAST: Cidr = Cidr::v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// The well-known prefix of NAT64 (RFC 6052): the last 32 bits are the IPv4 address that is reached.
const NAT64: Cidr = Cidr::v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// The address that a connection to `ip` ends at: IPv4-mapped addresses are IPv4 to the kernel (RFC 4291), and those of
/// the well-known NAT64 prefix to the translator.
pub(crate) fn destination(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if NAT64.contains(IpAddr::V6(v6)) => IpAddr::V4(embedded(v6)),
        canonical => canonical,
    }
}

fn embedded(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = ip.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// Why `ip` is no globally reachable unicast address; `None` when it is one.
pub(crate) fn refusal(ip: IpAddr) -> Option<Reason> {
    let ip = destination(ip);
    let row = SPECIAL.iter().find(|(block, _)| block.contains(ip)).map(|(_, reason)| *reason);
    row.or_else(|| (ip.is_ipv6() && !GLOBAL_UNICAST.contains(ip)).then_some(Reason::Reserved))
}

#[cfg(test)]
#[path = "ranges_tests.rs"]
mod tests;
