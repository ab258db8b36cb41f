use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Resolvers {
    Resolvers::parse(text, |name| (name == "eth0").then_some(7))
}

#[test]
fn reads_what_systems_write() {
    let resolvers = parse(
        "# made by hand\n; also a comment\nsearch example.org\nnameserver 127.0.0.53\n\
         \tnameserver\t2001:4860:4860::8888  # why\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n\
         options edns0 timeout:3 attempts:1 trust-ad",
    );
    let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 7));
    assert_eq!(
        resolvers.servers,
        ["127.0.0.53:53".parse().unwrap(), "[2001:4860:4860::8888]:53".parse().unwrap(), scoped,]
    );
    assert_eq!((resolvers.timeout, resolvers.attempts), (Duration::from_secs(3), 1));
}

#[test]
fn skips_what_it_cannot_use() {
    let text = "nameserver\nnameserver resolver.example\nnameserver 1.2.3\nnameserver fe80::1%nowhere\n\
                nameserver 1.2.3.4%eth0\nserver 1.1.1.1\n#nameserver 1.1.1.1\nnameserver fe80::1%3";
    let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 53, 0, 3));
    assert_eq!(parse(text).servers, [scoped]);
    assert_eq!(parse(""), Resolvers::new(Vec::new()));
}

#[test]
fn options_stay_within_bounds() {
    let wild = parse("options timeout:86400 attempts:0 timeout: attempts:x attempts:99999999999");
    assert_eq!((wild.timeout, wild.attempts), (Duration::from_secs(5), 1));
}

proptest! {
    #[test]
    fn any_text_is_read_within_bounds(text in "(nameserver |options timeout:|[0-9.:%a-f]|\\PC|\n){0,60}") {
        let resolvers = parse(&text);
        prop_assert!(resolvers.servers.len() <= MAX_SERVERS);
        prop_assert!((1..=5).contains(&resolvers.timeout.as_secs()) && (1..=3).contains(&resolvers.attempts));
    }
}
