use super::*;
use agentkernel_model::secret::SecretBinding;
use std::net::{IpAddr, SocketAddr};

const OWN: &str = "10.9.9.9";

fn ruleset(rules: &[&str], otherwise: Otherwise, secrets: &[&str]) -> Ruleset {
    let rules = rules.iter().map(|text| text.parse().unwrap()).collect();
    let bindings: Vec<SecretBinding> = secrets.iter().map(|text| text.parse().unwrap()).collect();
    let bound = agentkernel_trust::resolve(&bindings, &[]).unwrap();
    Ruleset::new(EgressRules { rules, otherwise }, bound)
}

fn to(address: &str) -> Destination {
    let address: SocketAddr = address.parse().unwrap();
    Destination::of(address, |ip| ip == OWN.parse::<IpAddr>().unwrap())
}

fn pinned(text: &str) -> Option<Name<'_>> {
    Some(Name { text, pinned: true })
}

fn claimed(text: &str) -> Option<Name<'_>> {
    Some(Name { text, pinned: false })
}

/// `allow`, `inspect`, or the reason of the refusal.
fn word(ruling: Ruling<'_>) -> String {
    match ruling {
        Ruling::Allow(_) => "allow".to_owned(),
        Ruling::Inspect(_) => "inspect".to_owned(),
        Ruling::Deny(_, reason) => format!("{reason:?}"),
    }
}

const PUBLIC: &str = "93.184.215.14:443";

#[test]
fn without_rules_the_public_is_open_and_nothing_else() {
    let rules = ruleset(&[], Otherwise::Public, &[]);
    for (address, verdict) in [
        (PUBLIC, "allow"),
        ("[2606:4700::1111]:443", "allow"),
        ("10.0.0.1:80", "Private"),
        ("10.9.9.9:80", "ThisMachine"),
        ("127.0.0.1:80", "Loopback"),
        ("0.0.0.0:80", "Unspecified"),
        ("169.254.169.254:80", "Metadata"),
        ("[::ffff:127.0.0.1]:80", "Loopback"),
        ("[64:ff9b::7f00:1]:80", "Loopback"),
        ("224.0.0.1:80", "Multicast"),
    ] {
        assert!(!rules.needs_name(&to(address)));
        assert_eq!(word(rules.rule(&to(address), None, None)), verdict, "{address}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = ruleset(
        &[
            "deny 93.184.215.14:22",
            "allow 93.184.0.0/16",
            "deny public",
            "allow private:5432",
            "allow host:8080",
        ],
        Otherwise::Public,
        &[],
    );
    for (address, verdict) in [
        ("93.184.215.14:22", "Denied"),
        ("93.184.215.14:23", "allow"),
        ("8.8.8.8:443", "Denied"),
        ("10.0.0.1:5432", "allow"),
        ("10.0.0.1:5433", "Private"),
        ("127.0.0.1:8080", "allow"),
        ("10.9.9.9:8080", "allow"),
        ("10.9.9.9:5432", "ThisMachine"),
        ("[64:ff9b::7f00:1]:8080", "Loopback"),
        ("169.254.169.254:80", "Metadata"),
    ] {
        assert_eq!(word(rules.rule(&to(address), None, None)), verdict, "{address}");
    }
}

#[test]
fn a_name_counts_where_this_sandbox_was_told_it_and_leads_to_nothing_private() {
    let rules = ruleset(&["allow *.example.com", "allow 10.0.0.0/24"], Otherwise::Deny, &[]);
    assert!(rules.needs_name(&to(PUBLIC)));
    for (name, address, verdict) in [
        (pinned("a.example.com"), PUBLIC, "allow"),
        (claimed("a.example.com"), PUBLIC, "NotListed"),
        (pinned("example.com"), PUBLIC, "NotListed"),
        (None, PUBLIC, "NotListed"),
        // Rebinding.
        (pinned("a.example.com"), "127.0.0.1:443", "Loopback"),
        (pinned("a.example.com"), "10.1.0.1:443", "Private"),
        (pinned("a.example.com"), "10.9.9.9:443", "ThisMachine"),
        (pinned("a.example.com"), "169.254.169.254:443", "Metadata"),
        // Somebody let the address through as well.
        (pinned("a.example.com"), "10.0.0.1:443", "allow"),
        (None, "10.0.0.1:443", "allow"),
    ] {
        assert_eq!(word(rules.rule(&to(address), name, None)), verdict, "{name:?} {address}");
    }
}

#[test]
fn a_denied_name_is_denied_whoever_resolved_it() {
    let rules = ruleset(&["deny *.evil.com"], Otherwise::Public, &[]);
    assert_eq!(word(rules.rule(&to(PUBLIC), claimed("a.evil.com"), None)), "Denied");
    assert_eq!(word(rules.rule(&to(PUBLIC), claimed("evil.com"), None)), "allow");
    assert_eq!(word(rules.rule_unnamed(&to(PUBLIC), ["good.com", "a.evil.com"])), "Denied");
    assert_eq!(word(rules.rule_unnamed(&to(PUBLIC), ["good.com"])), "allow");
}

#[test]
fn what_may_be_taken_for_a_denied_name_is_denied() {
    // Resolvers and servers take more for a name than certificates do.
    for rule in ["deny *.evil.com", "deny POST *.evil.com"] {
        let rules = ruleset(&[rule], Otherwise::Public, &[]);
        let post = Some(Asking { method: "POST", path: "/" });
        for name in ["data-.evil.com", "-.evil.com", "a.evil.com."] {
            assert_eq!(word(rules.rule(&to(PUBLIC), pinned(name), post)), "Denied", "{rule} {name}");
            assert!(rules.forbids_at(name), "{rule} {name}");
        }
    }
    let rules = ruleset(&["deny *.evil.com", "allow *.good.com"], Otherwise::Public, &[]);
    for name in ["data-.evil.com", "x!y.evil.com", "\\000.evil.com"] {
        assert_eq!(resolved(&rules, name), "deny *.evil.com", "{name}");
    }
    // What allows is about names of hosts alone.
    let rules = ruleset(&["allow *.good.com"], Otherwise::Deny, &[]);
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("data-.good.com"), None)), "NotListed");
    assert_eq!(resolved(&rules, "x!y.good.com"), "refused");
}

#[test]
fn a_rule_about_mapped_addresses_is_about_those_of_ipv4() {
    for rule in ["deny ::ffff:93.184.215.14", "deny ::ffff:0:0/96"] {
        let rules = ruleset(&[rule], Otherwise::Public, &[]);
        for address in [PUBLIC, "[::ffff:93.184.215.14]:443"] {
            assert_eq!(word(rules.rule(&to(address), None, None)), "Denied", "{rule} {address}");
        }
    }
}

#[test]
fn a_neighbour_is_let_through_by_its_address_alone() {
    let to = to(PUBLIC).nearby();
    let rules = ruleset(&["allow *.example.com"], Otherwise::Public, &[]);
    assert_eq!(word(rules.rule(&to, None, None)), "Neighbour");
    assert_eq!(word(rules.rule(&to, pinned("printer.example.com"), None)), "Neighbour", "rebinding");
    for rule in ["allow private", "allow 93.184.215.0/24"] {
        assert_eq!(word(ruleset(&[rule], Otherwise::Public, &[]).rule(&to, None, None)), "allow", "{rule}");
    }
}

#[test]
fn an_allowed_name_stays_so_when_the_public_is_denied_after_it() {
    let rules = ruleset(&["allow api.example.com:443", "deny public"], Otherwise::Public, &[]);
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("api.example.com"), None)), "allow");
    assert_eq!(word(rules.rule(&to("93.184.215.14:80"), pinned("api.example.com"), None)), "Denied");
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("b.example.com"), None)), "Denied");
}

#[test]
fn requests_are_ruled_one_by_one() {
    let rules = ruleset(
        &["allow GET,HEAD api.example.com/v1", "deny DELETE up.example.com", "allow up.example.com"],
        Otherwise::Deny,
        &[],
    );
    let asking = |method, path| Some(Asking { method, path });
    let (api, up) = (pinned("api.example.com"), pinned("up.example.com"));
    assert_eq!(word(rules.rule(&to(PUBLIC), api, None)), "inspect");
    assert_eq!(word(rules.rule(&to(PUBLIC), claimed("api.example.com"), None)), "NotListed");
    assert_eq!(word(rules.rule(&to("10.0.0.1:443"), api, None)), "NotListed");
    for (name, method, path, verdict) in [
        (api, "GET", "/v1/models", "allow"),
        (api, "POST", "/v1/models", "NotListed"),
        (api, "GET", "/v2", "NotListed"),
        (up, "DELETE", "/", "Denied"),
        (up, "GET", "/", "allow"),
    ] {
        assert_eq!(
            word(rules.rule(&to(PUBLIC), name, asking(method, path))),
            verdict,
            "{name:?} {method} {path}"
        );
    }
    assert_eq!(word(rules.rule_unnamed(&to(PUBLIC), ["api.example.com"])), "Unreadable");
    assert_eq!(word(rules.rule_unnamed(&to(PUBLIC), ["up.example.com"])), "Unreadable");
}

#[test]
fn hosts_of_secrets_are_opened_and_let_through_beside_the_rules() {
    let rules = ruleset(&["allow pypi.org"], Otherwise::Deny, &["KEY=12345678:api.example.com"]);
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("api.example.com"), None)), "inspect");
    assert_eq!(word(rules.rule(&to(PUBLIC), claimed("api.example.com"), None)), "NotListed");
    assert_eq!(word(rules.rule(&to("10.0.0.1:443"), pinned("api.example.com"), None)), "NotListed");
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("pypi.org"), None)), "allow");
    assert_eq!(word(rules.rule(&to(PUBLIC), pinned("evil.com"), None)), "NotListed");
    assert_eq!(word(rules.rule_unnamed(&to(PUBLIC), ["api.example.com"])), "Unreadable");
    // An address that is let through may be such a host's.
    let rules = ruleset(&["allow 10.0.0.0/8"], Otherwise::Deny, &["KEY=12345678:api.example.com"]);
    assert!(rules.needs_name(&to("10.0.0.1:443")));
    assert_eq!(word(rules.rule(&to("10.0.0.1:443"), pinned("api.example.com"), None)), "inspect");
    assert_eq!(word(rules.rule(&to("10.0.0.1:443"), None, None)), "allow");
    let translated = ruleset(&["deny 93.184.0.0/16"], Otherwise::Public, &[]);
    assert_eq!(word(translated.rule(&to("[64:ff9b::5db8:d70e]:443"), None, None)), "Denied");
    let denied = ruleset(&["deny api.example.com"], Otherwise::Deny, &["KEY=12345678:api.example.com"]);
    assert_eq!(word(denied.rule(&to(PUBLIC), pinned("api.example.com"), None)), "Denied");
}

#[test]
fn what_cannot_be_read_goes_where_its_address_may_go_and_nowhere_else() {
    let listed = ruleset(&["allow pypi.org", "allow 10.0.0.1"], Otherwise::Deny, &[]);
    // SSH says no name; a greeting that is not understood may say another.
    assert_eq!(word(listed.rule_unnamed(&to(PUBLIC), ["pypi.org"])), "allow");
    assert_eq!(word(listed.rule_stranger(&to(PUBLIC), ["pypi.org"], None)), "Unreadable");
    assert_eq!(word(listed.rule_stranger(&to("10.0.0.1:80"), [], None)), "allow");
    let open = ruleset(&["deny POST api.example.com"], Otherwise::Public, &[]);
    assert_eq!(word(open.rule_stranger(&to(PUBLIC), [], None)), "allow");
    assert_eq!(word(open.rule_stranger(&to(PUBLIC), ["api.example.com"], None)), "Unreadable");
    // An unlisted name does not hide the one that the address was told for.
    let other = Name { text: "other.org", pinned: false };
    assert_eq!(word(open.rule_named(&to(PUBLIC), other, ["api.example.com"], None)), "Unreadable");
    assert_eq!(word(open.rule_named(&to(PUBLIC), other, [], None)), "allow");
    let post = Some(Asking { method: "POST", path: "/" });
    assert_eq!(word(open.rule_named(&to(PUBLIC), other, ["api.example.com"], post)), "Denied");
    assert_eq!(
        word(open.rule_named(&to(PUBLIC), Name { pinned: true, ..other }, ["api.example.com"], post)),
        "allow"
    );
}

/// What becomes of a question about `name`: the rule that refuses it, where one does.
fn resolved(rules: &Ruleset, name: &str) -> String {
    match rules.resolve(name) {
        Resolution::Forward => "asked".to_owned(),
        Resolution::Refuse(rule) => rule.map_or("refused".to_owned(), ToString::to_string),
    }
}

#[test]
fn names_that_lead_nowhere_are_not_asked_about() {
    let listed =
        ruleset(&["allow *.example.com", "allow 10.0.0.0/8"], Otherwise::Deny, &["K=12345678:api.x.org"]);
    for (name, resolution) in [
        ("a.example.com", "asked"),
        ("api.x.org", "asked"),
        ("example.com", "refused"),
        ("stolen-data.tunnel.net", "refused"),
    ] {
        assert_eq!(resolved(&listed, name), resolution, "{name}");
    }
    let open = ruleset(&["deny evil.com", "deny half.com:80"], Otherwise::Public, &[]);
    for (name, resolution) in [("evil.com", "deny evil.com"), ("half.com", "asked"), ("any.org", "asked")] {
        assert_eq!(resolved(&open, name), resolution, "{name}");
    }
    let closed = ruleset(&["allow a.com", "deny public"], Otherwise::Public, &[]);
    assert_eq!(resolved(&closed, "a.com"), "asked");
    assert_eq!(resolved(&closed, "b.com"), "deny public");
    let public = ruleset(&["allow public:443"], Otherwise::Deny, &[]);
    assert_eq!(resolved(&public, "b.com"), "asked");
}

/// The ruling for UDP to `address`, of which the sandbox was told that it is `names`.
fn datagram(rules: &Ruleset, address: &str, names: &[&str]) -> String {
    word(rules.rule_unnamed(&to(address).over(Protocol::Udp), names.iter().copied()))
}

#[test]
fn udp_goes_by_rules_that_say_so_and_by_no_others() {
    let open = ruleset(&["allow public", "allow 10.0.0.0/8", "allow a.example.com"], Otherwise::Public, &[]);
    assert_eq!(datagram(&open, PUBLIC, &["a.example.com"]), "NotListed");
    assert_eq!(datagram(&open, "10.0.0.1:53", &[]), "NotListed");
    let rules = ruleset(
        &[
            "deny blocked.example.com",
            "deny udp:93.184.215.99",
            "allow udp:a.example.com:123",
            "allow udp:10.1.0.0/16:443",
            "allow udp:*.wide.example.com",
        ],
        Otherwise::Public,
        &[],
    );
    let ntp = "93.184.215.14:123";
    assert_eq!(datagram(&rules, ntp, &["a.example.com"]), "allow");
    // Only where the sandbox was told that the name leads, on that port, and never over TCP by that rule.
    assert_eq!(datagram(&rules, ntp, &[]), "NotListed");
    assert_eq!(datagram(&rules, PUBLIC, &["a.example.com"]), "NotListed");
    assert_eq!(datagram(&rules, "93.184.215.99:123", &["x.wide.example.com"]), "Denied");
    assert_eq!(word(rules.rule(&to("10.1.0.1:443"), None, None)), "Private");
    // A rule that denies counts for whatever the address is called, and whatever it is said over.
    assert_eq!(datagram(&rules, ntp, &["a.example.com", "blocked.example.com"]), "Denied");
    assert_eq!(datagram(&rules, "10.1.2.3:443", &["blocked.example.com"]), "Denied");
    // A name leads to public addresses only, but to where UDP is let by address.
    assert_eq!(datagram(&rules, "10.2.0.1:443", &["x.wide.example.com"]), "NotListed");
    assert_eq!(datagram(&rules, "10.1.0.1:443", &["x.wide.example.com"]), "allow");
    assert_eq!(datagram(&rules, "127.0.0.1:443", &["x.wide.example.com"]), "NotListed");
}

#[test]
fn where_requests_are_read_there_is_no_road_over_udp() {
    let rules = ruleset(
        &[
            "allow udp:public",
            "allow GET read.example.com/v1",
            "allow udp:read.example.com",
            "allow udp:bound.example.com",
        ],
        Otherwise::Deny,
        &["TOKEN=value:bound.example.com"],
    );
    assert_eq!(datagram(&rules, PUBLIC, &["other.example.com"]), "allow");
    assert_eq!(datagram(&rules, PUBLIC, &["bound.example.com"]), "Unreadable");
    assert_eq!(datagram(&rules, PUBLIC, &["other.example.com", "bound.example.com"]), "Unreadable");
    let first = ruleset(&["deny POST a.example.com", "allow udp:a.example.com"], Otherwise::Public, &[]);
    assert_eq!(datagram(&first, PUBLIC, &["a.example.com"]), "Unreadable");
}

#[test]
fn a_name_is_asked_about_for_a_rule_of_udp() {
    let rules = ruleset(&["allow udp:time.example.com:123", "deny udp:a.example.com"], Otherwise::Deny, &[]);
    assert_eq!(resolved(&rules, "time.example.com"), "asked");
    assert_eq!(resolved(&rules, "a.example.com"), "refused");
    let public = ruleset(&["deny udp:a.example.com"], Otherwise::Public, &[]);
    assert_eq!(resolved(&public, "a.example.com"), "asked");
}

#[test]
fn what_is_opened_is_opened_by_a_rule() {
    let of = |rules: &[&str], otherwise, secrets: &[&str]| {
        let rules = ruleset(rules, otherwise, secrets);
        match rules.rule(&to(PUBLIC), pinned("api.x.com"), None) {
            Ruling::Inspect(rule) => rule.map(ToString::to_string),
            other => panic!("{other:?}"),
        }
    };
    let (two, open) = (["allow GET api.x.com", "allow POST api.x.com"], "allow api.x.com");
    assert_eq!(of(&two, Otherwise::Deny, &[]).as_deref(), Some(two[0]), "some requests pass by it");
    assert_eq!(of(&["deny POST api.x.com", open], Otherwise::Deny, &[]).as_deref(), Some(open));
    assert_eq!(of(&[open], Otherwise::Deny, &["KEY=hidden-value:api.x.com"]).as_deref(), Some(open));
    assert_eq!(of(&["deny POST api.x.com"], Otherwise::Public, &[]), None, "no rule lets it through");
}
