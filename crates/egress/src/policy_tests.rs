use super::*;

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

#[test]
fn public_refuses_special_addresses_on_any_port() {
    let policy = Policy::public(Vec::new());
    for port in [1, 22, 53, 80, 443, 8080, 65535] {
        assert_eq!(policy.decide(at("169.254.169.254", port)), Decision::Refuse(Reason::Metadata));
        assert_eq!(policy.decide(at("127.0.0.1", port)), Decision::Refuse(Reason::Loopback));
        assert_eq!(policy.decide(at("1.1.1.1", port)), Decision::Allow);
        assert_eq!(policy.decide(at("2606:4700::1111", port)), Decision::Allow);
    }
}

#[test]
fn public_refuses_the_addresses_of_this_machine_in_every_spelling() {
    let policy =
        Policy::public(vec!["::ffff:93.184.215.14".parse().unwrap(), "2606:2800::1".parse().unwrap()]);
    for ip in ["93.184.215.14", "::ffff:93.184.215.14", "64:ff9b::93.184.215.14", "2606:2800::1"] {
        assert_eq!(policy.decide(at(ip, 8080)), Decision::Refuse(Reason::ThisMachine), "{ip}");
    }
    assert_eq!(policy.decide(at("93.184.215.15", 8080)), Decision::Allow);
}

#[test]
fn a_list_allows_its_blocks_and_nothing_else() {
    let policy = Policy::allowing(vec!["127.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
    for ip in ["127.0.0.1", "::ffff:127.0.0.1", "2001:db8::1"] {
        assert_eq!(policy.decide(at(ip, 80)), Decision::Allow, "{ip}");
    }
    for ip in ["8.8.8.8", "::1", "169.254.169.254", "64:ff9b::127.0.0.1"] {
        assert_eq!(policy.decide(at(ip, 80)), Decision::Refuse(Reason::NotListed), "{ip}");
    }
    assert_eq!(Policy::allowing(Vec::new()).decide(at("8.8.8.8", 80)), Decision::Refuse(Reason::NotListed));
}
