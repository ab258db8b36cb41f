use super::*;

/// As version 1.2.2 prints it, shortened.
const LIST: &str = r#"[{"configuration":{"capAdd":[],"id":"agentkernel-1","image":{"descriptor":{"digest":"sha256:1"},
    "reference":"agentkernel.local/rootfs:ab"},"labels":{"sh.agentkernel.owner":"me"},"networks":[]},
    "id":"agentkernel-1","status":{"networks":[],"startedDate":"2026-08-01T00:00:00Z","state":"running"}},
    {"configuration":{"id":"b","image":{"reference":"alpine"}},"id":"b","status":{"networks":[],"state":"stopped"}}]"#;

#[test]
fn a_list_is_read_and_what_is_not_known_ignored() {
    let all: Vec<Listed> = parse("container list", LIST.as_bytes()).unwrap();
    assert_eq!((all[0].id.as_str(), all[0].is_running()), ("agentkernel-1", true));
    assert_eq!(all[0].label("sh.agentkernel.owner"), Some("me"));
    assert_eq!(all[0].image(), "agentkernel.local/rootfs:ab");
    assert_eq!((all[1].label("x"), all[1].is_running()), (None, false));
}

#[test]
fn an_image_has_a_label_when_every_variant_has() {
    let image = |variants: &str| -> Image {
        let text = format!(r#"{{"configuration":{{"name":"n"}},"variants":[{variants}]}}"#);
        parse("container image list", text.as_bytes()).unwrap()
    };
    let with = r#"{"size":3,"config":{"config":{"Labels":{"k":"v"}}}}"#;
    let without = r#"{"size":4,"config":{"config":{"Labels":null}}}"#;
    assert!(image(with).has_label("k", "v"));
    assert!(!image(with).has_label("k", "w"));
    assert!(!image(&format!("{with},{without}")).has_label("k", "v"));
    assert!(!image("").has_label("k", "v"));
    assert_eq!(image(&format!("{with},{without}")).size(), 7);
}

#[test]
fn garbage_names_the_version_that_was_expected() {
    for text in ["", "not json", "{}", "[{\"id\":1}]"] {
        let error = parse::<Vec<Listed>>("container list", text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.message().contains(WRITTEN_AGAINST), "{error}");
    }
}
