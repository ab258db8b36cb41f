use super::*;
use proptest::prelude::*;

fn reason(ip: &str) -> Option<Reason> {
    refusal(ip.parse().unwrap())
}

#[test]
fn every_row_of_the_table_is_a_well_formed_block() {
    for (block, _) in SPECIAL {
        assert_eq!(block.to_string().parse::<Cidr>().unwrap(), *block);
    }
}

#[test]
fn special_addresses_are_refused_for_their_reason() {
    use Reason::*;
    let table: &[(Reason, &[&str])] = &[
        (Unspecified, &["0.0.0.0", "0.255.255.255", "::"]),
        (
            Loopback,
            &["127.0.0.1", "127.255.255.255", "127.0.0.53", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"],
        ),
        (
            Private,
            &["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"],
        ),
        (Private, &["fc00::1", "fd12:3456::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]),
        (Shared, &["100.64.0.0", "100.127.255.255", "::ffff:100.64.0.1"]),
        (LinkLocal, &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"]),
        (Metadata, &["169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"]),
        (Metadata, &["::ffff:169.254.169.254", "64:ff9b::169.254.169.254"]),
        (Metadata, &["169.254.170.2", "169.254.170.23", "fd00:ec2::23"]),
        (Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"]),
        (Broadcast, &["255.255.255.255", "::ffff:255.255.255.255"]),
        (
            Documentation,
            &["192.0.2.1", "198.51.100.255", "203.0.113.1", "2001:db8::1", "3fff::1", "3fff:fff::1"],
        ),
        (Benchmarking, &["198.18.0.1", "198.19.255.255", "2001:2::1"]),
        (
            Reserved,
            &["240.0.0.1", "255.255.255.254", "192.0.0.1", "192.0.0.192", "2001:10::1", "2001:1ff::1"],
        ),
        (Reserved, &["100::1", "5f00::1", "4000::1", "1fff::1", "64:ff9b:2::1", "8000::", "::1:0:0:1"]),
        // Forms that carry an IPv4 address: compatible, 6to4, Teredo, local-use NAT64, the 6to4 relay.
        (
            Transition,
            &["::127.0.0.1", "::169.254.169.254", "::8.8.8.8", "::2", "2002:7f00:1::", "2002:a9fe:a9fe::1"],
        ),
        (
            Transition,
            &["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b:1::10.0.0.1", "192.88.99.1"],
        ),
    ];
    for (expected, addresses) in table {
        for address in *addresses {
            assert_eq!(reason(address), Some(*expected), "{address}");
        }
    }
}

#[test]
fn public_addresses_pass() {
    let public = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "168.63.129.15",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:4860:4860::8888",
        "2606:4700::1111",
        "2001:200::1",
        "2003::1",
        "2a00::1",
        "3ffe::1",
        "3fff:1000::1",
        "2620:4f:8000::1",
        "2000::1",
    ];
    for address in public {
        assert_eq!(reason(address), None, "{address}");
    }
}

proptest! {
    /// An independent statement of the same rule from the standard library, where it has one.
    #[test]
    fn agrees_with_the_standard_library_on_ipv4(bits: u32) {
        let ip = Ipv4Addr::from_bits(bits);
        let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
            || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
        prop_assert!(!special || refusal(IpAddr::V4(ip)).is_some());
    }

    #[test]
    fn a_wrapped_ipv4_address_is_never_treated_better_than_itself(bits: u32) {
        let v4 = Ipv4Addr::from_bits(bits);
        let plain = refusal(IpAddr::V4(v4));
        let nat64 = Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | u128::from(bits));
        prop_assert_eq!(refusal(IpAddr::V6(v4.to_ipv6_mapped())), plain);
        prop_assert_eq!(refusal(IpAddr::V6(nat64)), plain);
        let sixtofour = Ipv6Addr::from_bits(0x2002_u128 << 112 | u128::from(bits) << 80 | 1);
        let compatible = Ipv6Addr::from_bits(u128::from(bits));
        prop_assert!(refusal(IpAddr::V6(sixtofour)).is_some());
        prop_assert!(refusal(IpAddr::V6(compatible)).is_some());
    }
}
