use super::*;
use proptest::prelude::*;
use reqwest::header::HeaderValue;

fn read_all(values: &[&str]) -> Option<Challenge> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).ok()?);
    }
    read(&headers)
}

fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
    Some(Challenge::Bearer { realm: Url::parse(realm).unwrap(), service: service.map(str::to_owned) })
}

#[test]
fn challenges_of_real_registries() {
    let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/python:pull""#;
    assert_eq!(read_all(&[hub]), bearer("https://auth.docker.io/token", Some("registry.docker.io")));
    assert_eq!(read_all(&[r#"Basic realm="Registry Realm""#]), Some(Challenge::Basic));
    assert_eq!(read_all(&["bearer realm=https://x.test/t"]), bearer("https://x.test/t", None));
    assert_eq!(
        read_all(&[r#"Basic realm="a, b=c", Bearer realm = "https://x.test/t" , service="s""#]),
        bearer("https://x.test/t", Some("s"))
    );
    assert_eq!(
        read_all(&["Basic", r#"Bearer realm="https://x.test/t",error="insufficient_scope""#]),
        bearer("https://x.test/t", None)
    );
    assert_eq!(read_all(&[r#"Bearer realm="https://x.test/\"t""#]), bearer("https://x.test/%22t", None));
}

#[test]
fn what_cannot_be_answered_is_nothing() {
    for text in ["", "Negotiate", "Bearer", r#"Bearer realm="no address""#, "=", ",,,", "Digest realm=\"x\""]
    {
        assert_eq!(read_all(&[text]), None, "{text}");
    }
    assert_eq!(read_all(&[&format!("Basic realm=\"{}\"", "x".repeat(9000))]), None);
}

proptest! {
    #[test]
    fn no_header_panics_or_hangs(text in "[ -~]{0,60}") {
        let _ = read_all(&[&text]);
    }

    #[test]
    fn no_challenge_like_header_panics_or_hangs(text in "([a-z\"=, \\\\]|realm|bearer|https://x){0,20}") {
        let _ = read_all(&[&text]);
    }
}
