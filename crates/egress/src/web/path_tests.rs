use super::*;
use proptest::prelude::*;

#[test]
fn what_means_what_it_shows_passes() {
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/a.b/..c/c../...",
        "/a%20b",
        "/%C3%A9",
        "/a;b=c",
        "/100%25",
        "/a%2520b",
        "*",
        "/~x",
    ] {
        assert!(!is_ambiguous(path), "{path}");
    }
}

#[test]
fn what_some_server_reads_as_another_path_does_not() {
    for path in [
        "/a/../b",
        "/..",
        "/.",
        "/a/./b",
        "//",
        "/a//b",
        "/%2e%2e/a",
        "/%2E./a",
        "/.%2e",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/%252e%252e/",
        "/a%252fb",
        "/..;/a",
        "/..;x=y/a",
        "/a%00b",
        "/a%0ab",
        "/%",
        "/%2",
        "/%zz",
        "/%u002e",
        "/%c0%ae%c0%ae/",
        "/%25252e%25252e/",
        "/%ff",
        "/;x/admin",
        "/a/;b/c",
    ] {
        assert!(is_ambiguous(path), "{path}");
    }
}

proptest! {
    #[test]
    fn any_text_has_an_answer(path in "[/.%0-9a-fA-F;\\\\\\PC]{0,40}") {
        let _either = is_ambiguous(&path);
    }

    /// A resolver of dot segments after any decoding must not change what passes.
    #[test]
    fn what_passes_has_no_dots_or_slashes_to_decode(path in "/([a.%25eEfF/;]{0,12})") {
        if !is_ambiguous(&path) {
            let mut bytes = path.clone().into_bytes();
            while let Some(next) = decoded(&bytes, Stray::Kept).filter(|next| *next != bytes) {
                bytes = next;
            }
            let text = String::from_utf8(bytes).unwrap();
            prop_assert!(!text.contains("//"));
            prop_assert!(text.split('/').all(|s| s != "." && s != ".."));
            prop_assert_eq!(text.matches('/').count(), path.matches('/').count());
        }
    }
}
