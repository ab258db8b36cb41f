use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<SecretBinding> {
    text.parse()
}

#[test]
fn every_form_parses() {
    let rows = [
        ("KEY", None, None, None),
        ("KEY:api.x.com", None, Some("api.x.com"), None),
        ("KEY:*.x.com", None, Some("*.x.com"), None),
        ("KEY:api.x.com:X-Api-Key", None, Some("api.x.com"), Some("x-api-key")),
        ("KEY=v:api.x.com", Some("v"), Some("api.x.com"), None),
        ("KEY=a:b=c:d:api.x.com", Some("a:b=c:d"), Some("api.x.com"), None),
        ("KEY==:api.x.com", Some("="), Some("api.x.com"), None),
    ];
    for (text, value, host, header) in rows {
        let binding = parse(text).unwrap();
        let shown = match binding.origin() {
            Origin::Vault => None,
            Origin::Inline(value) => Some(String::from_utf8(value.reveal().to_vec()).unwrap()),
        };
        assert_eq!(binding.name().as_str(), "KEY", "{text}");
        assert_eq!(shown.as_deref(), value, "{text}");
        assert_eq!(binding.host().map(ToString::to_string).as_deref(), host, "{text}");
        assert_eq!(binding.header().map(HeaderName::as_str), header, "{text}");
    }
}

#[test]
fn mistakes_are_refused_and_no_value_is_repeated() {
    for text in [
        "",
        ":api.x.com",
        "=hidden:api.x.com",
        "KEY:",
        "KEY:hidden",
        "KEY=hidden",
        "KEY=:api.x.com",
        "KEY=hidden:",
        "KEY=a:hidden",
        "KEY=hidden:api.x.com:X-Api-Key",
        "KEY:api.x.com:",
        "KEY:api.x.com:x-api-key hidden",
        "KEY:api.x.com:Host",
        "KEY:api.x.com:X-Key:hidden",
        "KEY:api.x.com:443",
        "KEY:10.0.0.1",
        "sk-hidden:api.x.com",
        "ghp_hidden:api.x.com",
        "hidden key:api.x.com",
    ] {
        let error = parse(text).expect_err(text);
        let told = format!("{error} {:?} {error:?}", error.hint());
        assert!(!told.contains("hidden"), "{text}: {told}");
        assert!(error.hint().is_some(), "{text}");
    }
}

#[test]
fn debug_shows_no_value() {
    let shown = format!("{:?}", parse("KEY=hidden:api.x.com").unwrap());
    assert!(shown.contains("KEY") && shown.contains("api.x.com") && !shown.contains("hidden"), "{shown}");
}

#[test]
fn length_is_bounded() {
    assert!(parse(&format!("KEY={}:api.x.com", "v".repeat(Secret::MAX))).is_ok());
    assert!(parse(&format!("KEY={}:api.x.com", "v".repeat(Secret::MAX + 1))).is_err());
    assert!(parse(&format!("KEY:{}", "a.".repeat(4096))).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_binding_or_an_error(text in "[A-Z_a-z0-9:=.*\\- \\PC]{0,60}") {
        let _either = parse(&text);
    }

    #[test]
    fn any_value_comes_back(value in "[^\\x00]{1,40}") {
        let binding = parse(&format!("KEY={value}:api.x.com")).unwrap();
        let same = matches!(binding.origin(), Origin::Inline(secret) if secret.reveal() == value.as_bytes());
        prop_assert!(same);
    }
}
