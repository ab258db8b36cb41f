use super::*;
use agentkernel_model::Kind;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn values() -> Values {
    let bound = |name: &str, host: &str, header: Option<&str>, value: &str| {
        let header = header.map(|header| header.parse().unwrap());
        Bound::new(name.parse().unwrap(), host.parse().unwrap(), header, secret(value)).unwrap()
    };
    Values {
        bound: vec![
            bound("OPENAI_API_KEY", "api.openai.com", None, "sk-one"),
            bound("GITHUB_TOKEN", "github.com", None, "two"),
            bound("OTHER", "*.example.com", Some("X-Key"), "three"),
        ],
        files: vec![
            ("KEY".parse().unwrap(), secret("four\0\n")),
            ("LONG".parse().unwrap(), secret(&"x".repeat(65536))),
        ],
    }
}

#[test]
fn values_come_over_as_they_were() {
    let sent = values();
    let bytes = encode(&sent).unwrap();
    let mut asked = 0;
    let got = decode(&bytes[..], || {
        asked += 1;
        Ok(())
    });
    let got = got.unwrap();
    assert_eq!((&got.bound, &got.files), (&sent.bound, &sent.files));
    assert_eq!(asked, 1);
}

#[test]
fn nothing_is_something_to_say() {
    let bytes = encode(&Values::default()).unwrap();
    let got = decode(&bytes[..], || panic!("there is nothing to keep"));
    assert!(got.unwrap().is_empty());
}

#[test]
fn what_is_cut_off_or_wrong_is_refused() {
    let bytes = encode(&values()).unwrap();
    for end in [0, 3, 4, 40, bytes.len() - 1] {
        assert!(decode(&bytes[..end], || Ok(())).is_err(), "{end}");
    }
    let with = |text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&length[..], text.as_bytes()].concat()
    };
    for text in [
        "",
        "[]",
        r#"{"bound":[],"files":[{"name":"A","length":0}]}"#,
        r#"{"bound":[],"files":[{"name":"A","length":99999999}]}"#,
        r#"{"bound":[],"files":[{"name":"a b","length":1}]}"#,
    ] {
        let error = decode(&with(text)[..], || Ok(())).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text}");
    }
    assert!(decode(&u32::MAX.to_be_bytes()[..], || Ok(())).is_err());
}
