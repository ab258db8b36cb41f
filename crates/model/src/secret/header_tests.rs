use super::*;

fn secret(value: &str) -> Secret {
    Secret::new(value.as_bytes().to_vec()).unwrap()
}

#[test]
fn names_are_tokens_and_none_that_frames() {
    assert_eq!("X-Api-Key".parse::<HeaderName>().unwrap().as_str(), "x-api-key");
    let long = "x".repeat(HeaderName::MAX + 1);
    for bad in [
        "",
        "a b",
        "a:b",
        "x-api-key: v",
        "a\r\nb",
        "ä",
        "Host",
        "content-LENGTH",
        "TE",
        "Transfer-Encoding",
        &long,
    ] {
        assert!(bad.parse::<HeaderName>().is_err(), "{bad:?}");
    }
    let error = "x-api-key: sk-hidden".parse::<HeaderName>().unwrap_err();
    assert!(!format!("{error} {:?}", error.hint()).contains("sk-hidden"));
}

#[test]
fn values_have_their_shape() {
    let rows = [
        (Shape::Raw, "sk-1"),
        (Shape::Bearer, "Bearer sk-1"),
        // printf x-access-token:sk-1 | base64
        (Shape::Basic("x-access-token"), "Basic eC1hY2Nlc3MtdG9rZW46c2stMQ=="),
    ];
    for (shape, wanted) in rows {
        let header = SecretHeader::new(HeaderName::authorization(), shape);
        assert_eq!(header.value(&secret("sk-1")).unwrap().as_slice(), wanted.as_bytes());
    }
}

#[test]
fn what_would_break_a_header_is_refused_where_it_is_used() {
    for bad in ["a\r\nHost: evil.com", "a\n", "a\0b", "a\tb", "\u{7f}", "ä", " a", "a "] {
        for shape in [Shape::Raw, Shape::Bearer, Shape::Basic("u")] {
            let header = SecretHeader::new(HeaderName::authorization(), shape);
            let error = header.value(&secret(bad)).unwrap_err();
            assert!(!error.to_string().contains("evil"), "{error}");
        }
    }
}
