use super::*;
use crate::Kind;

#[test]
fn names_as_engines_write_them_are_taken() {
    let longest = "r".repeat(RuntimeName::MAX);
    for text in ["runsc", "runc", "kata-fc", "io.containerd.runsc.v1", "crun_2", "7z", &longest] {
        assert_eq!(text.parse::<RuntimeName>().unwrap().as_str(), text);
    }
}

#[test]
fn paths_flags_and_what_is_too_long_are_refused_with_a_hint() {
    let long = "r".repeat(RuntimeName::MAX + 1);
    for text in
        ["", "/usr/bin/runsc", "./runsc", "-v", ".hidden", "_x", "a b", "a/b", "rünc", "a\n", "a\0", &long]
    {
        let error = text.parse::<RuntimeName>().unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{text:?}");
        assert!(error.hint().is_some(), "{text:?}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

#[test]
fn json_goes_through_the_grammar() {
    let name: RuntimeName = serde_json::from_str("\"runsc\"").unwrap();
    assert_eq!(serde_json::to_string(&name).unwrap(), "\"runsc\"");
    assert!(serde_json::from_str::<RuntimeName>("\"/bin/sh\"").is_err());
}
