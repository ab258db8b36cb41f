use super::*;
use proptest::prelude::*;

fn pattern(text: &str) -> HostPattern {
    text.parse().unwrap()
}

#[test]
fn hosts_and_domains_parse() {
    for good in
        ["api.example.com", "*.example.com", "x.y", "a-b.c-d.ef", "xn--bcher-kva.example", "1.2.3.com"]
    {
        assert_eq!(pattern(good).to_string(), good);
    }
    assert_eq!(pattern("API.Example.COM").to_string(), "api.example.com");
}

#[test]
fn what_is_no_name_of_a_host_is_refused() {
    let label = format!("{}.com", "a".repeat(64));
    let name = format!("{}com", "a.".repeat(126));
    for bad in [
        "",
        "*",
        "*.",
        "*.com",
        "com",
        "localhost",
        ".com",
        "a..com",
        "a.com.",
        "-a.com",
        "a-.com",
        "a_b.com",
        "a b.com",
        "https://a.com",
        "a.com:443",
        "a.com/x",
        "a.*.com",
        "**.a.com",
        "x*.a.com",
        "1.2.3.4",
        "0x7f.1",
        "127.1",
        "[::1]",
        "bücher.example",
        "a.com\n",
        "a.com\0",
        &label,
        &name,
    ] {
        assert!(bad.parse::<HostPattern>().is_err(), "{bad:?}");
    }
}

#[test]
fn matching_is_exact_or_below() {
    let rows = [
        ("api.example.com", "api.example.com", true),
        ("api.example.com", "API.example.COM", true),
        ("api.example.com", "example.com", false),
        ("api.example.com", "x.api.example.com", false),
        ("api.example.com", "api.example.com.evil.org", false),
        ("api.example.com", "api.example.com.", false),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "a.b.example.com", true),
        ("*.example.com", "a_b.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", ".example.com", false),
        ("*.example.com", "evilexample.com", false),
        ("*.example.com", "a.example.com.evil.org", false),
        ("*.example.com", "data-.example.com", false),
    ];
    for (text, host, wanted) in rows {
        assert_eq!(pattern(text).matches(host), wanted, "{text} {host}");
    }
}

#[test]
fn a_pattern_covers_what_is_no_wider() {
    let rows = [
        ("a.x.com", "a.x.com", true),
        ("a.x.com", "*.x.com", false),
        ("*.x.com", "a.x.com", true),
        ("*.x.com", "*.x.com", true),
        ("*.x.com", "*.a.x.com", true),
        ("*.a.x.com", "*.x.com", false),
        ("*.x.com", "x.com", false),
        ("*.x.com", "*.evilx.com", false),
    ];
    for (wide, narrow, wanted) in rows {
        assert_eq!(pattern(wide).covers(&pattern(narrow)), wanted, "{wide} {narrow}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_pattern_or_an_error(text in ".{0,80}") {
        if let Ok(pattern) = text.parse::<HostPattern>() {
            prop_assert_eq!(pattern.to_string().parse::<HostPattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_covered_is_matched(wide in "(\\*\\.)?([a-c]\\.){1,3}com", host in "([a-c]\\.){1,4}com") {
        let (wide, narrow) = (pattern(&wide), pattern(&host));
        prop_assert_eq!(wide.covers(&narrow), wide.matches(&host));
    }
}
