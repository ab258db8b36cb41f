use super::*;
use proptest::prelude::*;

fn reference(text: &str) -> Reference {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn what_is_left_out_is_filled_in() {
    for (text, registry, repository, tag, shown) in [
        ("alpine", "docker.io", "library/alpine", Some("latest"), "alpine:latest"),
        ("python:3.12-alpine", "docker.io", "library/python", Some("3.12-alpine"), "python:3.12-alpine"),
        ("docker.io/library/python:3", "docker.io", "library/python", Some("3"), "python:3"),
        ("index.docker.io/a/b", "docker.io", "a/b", Some("latest"), "a/b:latest"),
        (
            "nickblah/lua:5.4-alpine",
            "docker.io",
            "nickblah/lua",
            Some("5.4-alpine"),
            "nickblah/lua:5.4-alpine",
        ),
        ("localhost/x", "localhost", "x", Some("latest"), "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000", "a/b", Some("t"), "127.0.0.1:5000/a/b:t"),
        (
            "mcr.microsoft.com/dotnet/sdk:8.0",
            "mcr.microsoft.com",
            "dotnet/sdk",
            Some("8.0"),
            "mcr.microsoft.com/dotnet/sdk:8.0",
        ),
    ] {
        let found = reference(text);
        assert_eq!(
            (found.registry(), found.repository(), found.tag()),
            (registry, repository, tag),
            "{text}"
        );
        assert_eq!(found.to_string(), shown);
        assert_eq!(reference(shown), found, "{shown} means the same");
    }
}

#[test]
fn a_digest_pins_and_needs_no_tag() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let pinned = reference(&format!("alpine@{digest}"));
    assert_eq!((pinned.tag(), pinned.digest().unwrap().as_str()), (None, digest.as_str()));
    let both = reference(&format!("alpine:3.20@{digest}"));
    assert_eq!(both.tag(), Some("3.20"));
    assert_eq!(both.to_string(), format!("alpine:3.20@{digest}"));
}

#[test]
fn what_is_no_reference_is_refused() {
    let upper = format!("alpine@sha256:{}", "0A".repeat(32));
    let long = "a".repeat(257);
    for text in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "../a",
        "a/../b",
        "Alpine",
        "a b",
        "a:",
        ":a",
        "a:b:c",
        "a@b",
        "a@sha256:00",
        &upper,
        "a:-t",
        "-a",
        "a-",
        "a._b",
        "a___b",
        "x..y/z",
        "host:99999/a",
        "h.x:/a",
        "-h.x/a",
        "a\n",
        "é",
        &long,
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?} was taken");
    }
}

#[test]
fn what_is_too_long_when_it_is_whole_is_refused() {
    let long = format!("{}a", "a/".repeat(124));
    assert_eq!(reference(&long).to_string().len(), 256);
    assert!(format!("a{long}").parse::<Reference>().is_err());
}

#[test]
fn host_is_an_image_of_its_own() {
    assert_eq!("host".parse::<ImageRef>().unwrap(), ImageRef::Host);
    assert_eq!("host:1".parse::<ImageRef>().unwrap().to_string(), "host:1");
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_it_shows_means_the_same(text in "[a-z0-9A-Z./:@_-]{0,80}|.{0,40}") {
        if let Ok(found) = text.parse::<Reference>() {
            prop_assert_eq!(reference(&found.to_string()), found);
        }
    }
}
