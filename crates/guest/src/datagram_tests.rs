use super::*;

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

#[test]
fn a_header_of_ipv4_has_the_checksum_that_others_give_it() {
    // The example of RFC 1071's readers everywhere: 45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7.
    let bytes = packet(v4(192, 168, 0, 1), v4(192, 168, 0, 199), UDP, &[0; 0x73 - 20]).unwrap();
    assert_eq!(bytes[..12], [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61]);
}

#[test]
fn what_carries_a_right_checksum_sums_up_to_nothing() {
    for (from, to) in [("192.0.2.1:53", "198.51.100.7:4000"), ("[2001:db8::1]:53", "[2001:db8::2]:4000")] {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        for payload in [&b""[..], b"a", b"odd", b"even"] {
            let bytes = segment(from, to, payload).unwrap();
            let whole = pseudo(from.ip(), to.ip(), UDP, bytes.len());
            assert_eq!(checksum(whole, &bytes), 0, "{from} {payload:?}");
            assert_eq!(&bytes[8..], payload);
        }
    }
}

#[test]
fn what_fits_in_no_packet_is_none() {
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    assert_eq!(packet(v6, v4(127, 0, 0, 1), UDP, &[]), None);
    assert!(packet(v4(127, 0, 0, 1), v4(127, 0, 0, 1), UDP, &vec![0; 65_515]).is_some());
    assert_eq!(packet(v4(127, 0, 0, 1), v4(127, 0, 0, 1), UDP, &vec![0; 65_516]), None);
    assert!(packet(v6, v6, UDP, &vec![0; 65_535]).is_some());
    assert_eq!(packet(v6, v6, UDP, &vec![0; 65_536]), None);
    let end = SocketAddr::new(v6, 1);
    assert!(segment(end, end, &vec![0; MAX_PAYLOAD]).is_some());
    assert_eq!(segment(end, end, &vec![0; MAX_PAYLOAD + 1]), None);
}
