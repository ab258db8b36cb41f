use super::*;
use proptest::prelude::*;

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn contains_has_exact_edges() {
    let table = [
        ("10.0.0.0/8", "9.255.255.255", false),
        ("10.0.0.0/8", "10.0.0.0", true),
        ("10.0.0.0/8", "10.255.255.255", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "::", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.6", false),
        ("::/0", "ffff::1", true),
        ("::/0", "1.2.3.4", false),
        ("2001:db8::/32", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
        ("2001:db8::/32", "2001:db9::", false),
        ("fe80::1/128", "fe80::1", true),
        ("fe80::1/128", "fe80::2", false),
    ];
    for (block, ip, inside) in table {
        assert_eq!(cidr(block).contains(ip.parse().unwrap()), inside, "{ip} in {block}");
    }
}

#[test]
fn blocks_of_mapped_addresses_are_of_ipv4() {
    for (mapped, meant) in [
        ("::ffff:198.51.100.7", "198.51.100.7/32"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        // Of both kinds.
        ("::/80", "::/80"),
        ("::198.51.100.7", "::198.51.100.7/128"),
    ] {
        assert_eq!(cidr(mapped).to_string(), cidr(meant).to_string(), "{mapped}");
    }
    assert_eq!(Cidr::around("::ffff:198.51.100.7".parse().unwrap(), 120), Some(cidr("198.51.100.0/24")));
    assert_eq!(Cidr::around("10.1.2.3".parse().unwrap(), 33), None);
}

#[test]
fn malformed_blocks_are_refused_with_a_hint() {
    for text in
        ["", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/+8", "10.0.0.0/8/8", "a/8"]
    {
        let error = text.parse::<Cidr>().unwrap_err();
        assert!(error.hint().is_some(), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_text_parses_or_fails_and_what_parses_survives_printing(text in ".{0,40}") {
        if let Ok(block) = text.parse::<Cidr>() {
            prop_assert_eq!(block.to_string().parse::<Cidr>().unwrap(), block);
        }
    }

    #[test]
    fn a_block_holds_an_address_when_their_first_bits_agree(a: u128, b: u128, prefix in 0u8..=128) {
        let base = first(IpAddr::V6(Ipv6Addr::from_bits(a)), prefix);
        let block = Cidr::new(base, prefix).unwrap();
        let agree = (a ^ b).leading_zeros() >= u32::from(prefix);
        prop_assert_eq!(block.contains(IpAddr::V6(Ipv6Addr::from_bits(b))), agree);
    }
}
