use super::*;

#[test]
fn names_stay_inside() {
    for (raw, clean) in
        [("a/b", "a/b"), ("/a//b/", "a/b"), ("./a/./b", "a/b"), ("./", ""), ("", ""), ("..a/b..", "..a/b..")]
    {
        assert_eq!(Name::parse(raw.as_bytes()).unwrap().bytes(), clean.as_bytes(), "{raw}");
    }
    for raw in ["..", "a/..", "/../a", "a/../b", "a\0b"] {
        let error = Name::parse(raw.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), agentkernel_model::Kind::Invalid, "{raw}");
        assert!(error.message().contains(&shown(raw.as_bytes())), "{error}");
    }
}

#[test]
fn names_are_bounded() {
    let longest = vec![b'x'; 255];
    assert!(Name::parse(&longest).is_ok());
    assert!(Name::parse(&[longest.as_slice(), b"x"].concat()).is_err());
    assert!(Name::parse(&b"a/".repeat(256)).is_ok());
    assert!(Name::parse(&b"a/".repeat(257)).is_err());
    let error = Name::parse(&b"abc/".repeat(1025)).unwrap_err();
    assert!(error.message().len() < 300, "{error}");
}

#[test]
fn names_come_apart_and_together() {
    let name = Name::parse(b"a/b/c").unwrap();
    assert_eq!(name.split(), Some((b"a/b".as_slice(), b"c".as_slice())));
    assert_eq!(name.sibling(b"d").bytes(), b"a/b/d");
    let name = Name::parse(b"c").unwrap();
    assert_eq!(name.split(), Some((b"".as_slice(), b"c".as_slice())));
    assert_eq!(name.sibling(b"d").bytes(), b"d");
    assert_eq!(Name::parse(b"/").unwrap().split(), None);
}

#[test]
fn names_cannot_drive_a_terminal() {
    let error = Name::parse(b"\x1b[2J/..").unwrap_err();
    assert!(!error.message().contains('\x1b'), "{error}");
}
