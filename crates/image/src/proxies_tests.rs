use super::*;

fn way(value: &str, exempt: &str) -> Way {
    Proxies::new("HTTPS_PROXY", value.to_owned(), exempt).way().unwrap().unwrap()
}

fn goes(way: &Way, target: &str) -> bool {
    way.to(&Url::parse(target).unwrap()).is_some()
}

#[test]
fn addresses_of_proxies() {
    for (value, shown) in [
        ("proxy.test", "proxy.test:80"),
        ("proxy.test:3128", "proxy.test:3128"),
        ("http://proxy.test:3128/", "proxy.test:3128"),
        ("https://user:pass@proxy.test", "proxy.test:443"),
        ("http://[::1]:3128", "[::1]:3128"),
    ] {
        assert_eq!(way(value, "").shown(), shown, "{value}");
    }
    assert!(Proxies::default().way().unwrap().is_none());
    assert!(Proxies::new("HTTPS_PROXY", String::new(), "").way().unwrap().is_none());
}

#[test]
fn what_is_no_proxy_is_refused_and_not_shown() {
    for (value, kind) in [
        ("http://", Kind::Config),
        ("http://user:hunter2@/", Kind::Config),
        ("http://user:hunter2@proxy:99999", Kind::Config),
        ("socks5://user:hunter2@proxy.test", Kind::Unsupported),
        ("ftp://user:hunter2@proxy.test", Kind::Unsupported),
    ] {
        let error = Proxies::new("https_proxy", value.to_owned(), "").way().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.kind(), kind, "{value}: {shown}");
        assert!(shown.contains("https_proxy") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn secrets_are_in_no_debug_text() {
    let proxies = Proxies::new("HTTPS_PROXY", "http://user:hunter2@proxy.test".to_owned(), "");
    let shown = format!("{proxies:?} {:?}", proxies.way().unwrap());
    assert!(shown.contains("proxy.test") && !shown.contains("hunter2"), "{shown}");
    let with = proxies.way().unwrap().unwrap().to(&Url::parse("https://a.test/").unwrap()).unwrap();
    assert_eq!(with.password(), Some("hunter2"), "the one who connects is told");
}

#[test]
fn who_is_reached_without_it() {
    let way = way(
        "http://proxy.test:3128",
        " a.test, .b.test,10.1.0.0/16 , 192.0.2.7,c.test:5000,[2001:db8::1]:444,2001:db8::2,[2001:db8::3]",
    );
    for direct in [
        "https://a.test/",
        "https://sub.a.test:5000/",
        "https://b.test/",
        "https://10.1.2.3/",
        "https://192.0.2.7/",
        "https://c.test:5000/",
        "https://[2001:db8::1]:444/",
        "https://[2001:db8::2]/",
        "https://[2001:db8::3]:5000/",
        "https://localhost/",
        "https://127.0.0.2:5000/",
        "https://[::1]/",
        "http://127.0.0.1:5000/",
    ] {
        assert!(!goes(&way, direct), "{direct}");
    }
    for through in [
        "https://nota.test/",
        "https://a.test.evil.test/",
        "https://10.2.0.1/",
        "https://c.test/",
        "https://[2001:db8::1]/",
        "https://other.test:8443/",
    ] {
        assert!(goes(&way, through), "{through}");
    }
    assert!(!goes(&self::way("proxy.test", "*"), "https://a.test/"));
}
