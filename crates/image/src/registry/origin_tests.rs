use super::*;

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

#[test]
fn plain_http_is_for_loopback() {
    for loopback in [
        "http://127.0.0.1:5000",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:5000",
        "http://127.1:80",
    ] {
        assert!(origin(loopback).is_loopback(), "{loopback}");
    }
    for elsewhere in [
        "http://example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://[::2]",
        "http://127.0.0.1.example.com",
    ] {
        elsewhere.parse::<Origin>().unwrap_err();
    }
    Origin::http("example.com").unwrap_err();
    Origin::https("example.com").unwrap();
}

#[test]
fn a_server_sends_us_to_https_only_or_from_loopback_to_loopback() {
    let url = |text: &str| Url::parse(text).unwrap();
    let far = origin("https://registry.test");
    assert!(far.may_lead_to(&url("https://cdn.test/x")));
    assert!(!far.may_lead_to(&url("http://registry.test/x")));
    assert!(!far.may_lead_to(&url("http://127.0.0.1/x")), "nor to services of this machine");
    assert!(!far.may_lead_to(&url("https://user:pass@cdn.test/x")));
    assert!(!far.may_lead_to(&url("file:///etc/passwd")));
    let near = origin("http://127.0.0.1:5000");
    assert!(near.may_lead_to(&url("http://localhost:6000/x")));
    assert!(near.may_lead_to(&url("https://cdn.test/x")));
    assert!(!near.may_lead_to(&url("http://10.0.0.1/x")));
    assert!(!origin("https://127.0.0.1:5000").may_lead_to(&url("http://127.0.0.1:5000/x")));
}

#[test]
fn the_same_server_has_the_same_scheme_host_and_port() {
    let registry = origin("https://registry.test");
    let has = |text: &str| registry.has(&Url::parse(text).unwrap());
    assert!(has("https://registry.test:443/token"));
    for other in [
        "http://registry.test/",
        "https://registry.test:444/",
        "https://registry.test.evil/",
        "https://a.registry.test/",
    ] {
        assert!(!has(other), "{other}");
    }
}

#[test]
fn spellings() {
    let plain = origin("http://localhost:5000");
    assert_eq!((plain.authority().as_str(), plain.address().as_str()), ("localhost:5000", "localhost:5000"));
    assert_eq!(plain.at("/v2/a/b/manifests/1").as_str(), "http://localhost:5000/v2/a/b/manifests/1");
    assert_eq!(origin("https://x.test:443").authority(), "x.test");
    assert_eq!(plain.to_string(), "http://localhost:5000");
}
