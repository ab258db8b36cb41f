use super::*;
use crate::egress::EgressRules;
use proptest::prelude::*;

fn rule(text: &str) -> EgressRule {
    text.parse().unwrap_or_else(|e: Error| panic!("{text}: {e}"))
}

#[test]
fn what_is_written_comes_back() {
    for (text, back) in [
        ("allow api.example.com", "allow api.example.com"),
        ("deny *.Example.com:443", "deny *.example.com:443"),
        ("allow 10.0.0.0/8", "allow 10.0.0.0/8"),
        ("allow 10.0.0.0/8:5432", "allow 10.0.0.0/8:5432"),
        ("allow 192.0.2.1:80-90", "allow 192.0.2.1/32:80-90"),
        ("allow 2001:db8::/32", "allow 2001:db8::/32"),
        ("allow [2001:db8::1]:443", "allow [2001:db8::1/128]:443"),
        ("allow [2001:db8::1/128]:443", "allow [2001:db8::1/128]:443"),
        ("deny public", "deny public"),
        ("allow host:8080", "allow host:8080"),
        ("allow get,head api.example.com/v1/", "allow GET,HEAD api.example.com/v1/"),
        ("deny POST api.example.com", "deny POST api.example.com"),
        ("deny X-MINE,PURGE,BIND api.example.com", "deny X-MINE,PURGE,BIND api.example.com"),
        ("  allow   api.example.com:8443/a  ", "allow api.example.com:8443/a"),
        ("allow 1.example.com", "allow 1.example.com"),
        ("allow udp:time.example.com:123", "allow udp:time.example.com:123"),
        ("deny udp:public", "deny udp:public"),
        ("allow udp:[2001:db8::1]:443", "allow udp:[2001:db8::1/128]:443"),
        ("allow udp:2001:db8::/32", "allow udp:2001:db8::/32"),
    ] {
        let parsed = rule(text);
        assert_eq!(parsed.to_string(), back);
        assert_eq!(rule(&parsed.to_string()), parsed);
    }
}

#[test]
fn what_is_no_rule_is_refused_with_a_hint() {
    for text in [
        "",
        "allow",
        "permit a.example.com",
        "allow com",
        "allow a.example.com:0",
        "allow a.example.com:9-8",
        "allow a.example.com:65536",
        "allow a.example.com:+80",
        "allow 10.0.0.1/8",
        "allow 10.0.0.0/33",
        "allow GET 10.0.0.0/8",
        "allow GET public",
        "allow a.example.com/a/../b",
        "allow a.example.com/%2e",
        "allow a.example.com//b",
        "allow a.example.com/a?b",
        "allow G=T a.example.com",
        "deny PSOT a.example.com",
        "allow GET,HAED a.example.com",
        "allow deny a.example.com",
        "allow a b c",
        "allow https://a.example.com",
        "allow publik",
        "allow 0x7f.0.0.1",
        "allow 127.1",
        "allow 2130706433",
        "allow 10.0.0.0/8/v1",
        "allow udp:",
        "allow udp:udp:a.example.com",
        "allow UDP:a.example.com",
        "allow GET udp:a.example.com",
        "allow udp:a.example.com/v1",
        "allow udp:a.example.com:53",
        "allow udp:1.2.3.4:53-53",
    ] {
        let error = text.parse::<EgressRule>().expect_err(text);
        assert!(error.hint().is_some(), "{text}: {error}");
    }
}

#[test]
fn what_was_written_down_is_read_whatever_its_methods_are() {
    let stored: EgressRule = serde_json::from_str(r#""deny PSOT a.example.com""#).unwrap();
    assert_eq!(serde_json::to_string(&stored).unwrap(), r#""deny PSOT a.example.com""#);
}

#[test]
fn a_path_is_matched_by_whole_segments() {
    let http = |text: &str| rule(text).http().unwrap().clone();
    let under = http("allow GET,HEAD a.example.com/v1");
    for path in ["/v1", "/v1/", "/v1/x"] {
        assert!(under.matches("GET", path), "{path}");
    }
    assert!(!under.matches("GET", "/v10") && !under.matches("GET", "/") && !under.matches("POST", "/v1"));
    let below = http("allow a.example.com/v1/");
    assert!(below.matches("DELETE", "/v1/x") && !below.matches("GET", "/v1"));
    assert!(http("deny POST a.example.com").matches("POST", "/anything"));
}

#[test]
fn a_request_is_denied_for_what_a_server_could_take_it_for() {
    let deny = rule("deny POST a.example.com/v1/x").http().unwrap().clone();
    for (method, path) in [
        ("POST", "/v1/x"),
        ("post", "/v1/x/y"),
        ("POST", "/%76%31/x"),
        ("POST", "/v1;a=b/x;c"),
        ("POST", "/V1/X"),
        ("POST", "/%561/%78"),
        ("POST", "/%2576%2531/x"),
        ("POST", "/;x/v1/x"),
        ("POST", "//v1//x"),
    ] {
        assert!(deny.could_mean(method, path), "{method} {path}");
    }
    for (method, path) in [("GET", "/v1/x"), ("POST", "/v1/xy"), ("POST", "/v2/x"), ("POST", "/v1/%zz")] {
        assert!(!deny.could_mean(method, path), "{method} {path}");
    }
    let below = rule("deny a.example.com/v1/").http().unwrap().clone();
    assert!(
        below.could_mean("GET", "/v1") && below.could_mean("GET", "/v1/") && !below.could_mean("GET", "/v10")
    );
}

#[test]
fn udp_is_let_out_by_its_own_rules_alone_and_denied_by_all() {
    for (text, tcp, udp) in [
        ("allow a.example.com:443", true, false),
        ("deny a.example.com:443", true, true),
        ("allow udp:a.example.com:443", false, true),
        ("deny udp:a.example.com:443", false, true),
        // Whoever decides about requests wants to know of UDP as well: it cannot be let out to where they are read.
        ("allow GET a.example.com:443", true, true),
    ] {
        let rule = rule(text);
        assert_eq!(
            (rule.is_about(Protocol::Tcp, 443), rule.is_about(Protocol::Udp, 443)),
            (tcp, udp),
            "{text}"
        );
        assert!(!rule.is_about(Protocol::Tcp, 444) && !rule.is_about(Protocol::Udp, 444), "{text}");
    }
    let rules = |texts: &[&str]| EgressRules {
        rules: texts.iter().map(|text| rule(text)).collect(),
        ..EgressRules::default()
    };
    assert!(rules(&["allow a.example.com", "allow udp:b.example.com"]).let_udp_out());
    assert!(!rules(&["allow public", "deny udp:b.example.com"]).let_udp_out());
}

proptest! {
    #[test]
    fn any_text_is_a_rule_that_comes_back_or_an_error(text in "(allow|deny) [ -~]{0,60}") {
        if let Ok(parsed) = text.parse::<EgressRule>() {
            if let Some(http) = parsed.http() {
                // What is shown plainly is meant.
                let path = text.split_once('/').map_or("/".to_owned(), |(_, path)| format!("/{path}"));
                prop_assert!(!http.matches("GET", &path) || http.could_mean("GET", &path));
            }
            prop_assert_eq!(parsed.to_string().parse::<EgressRule>().unwrap(), parsed);
        }
    }
}
