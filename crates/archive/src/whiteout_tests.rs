use super::*;

fn of(name: &str) -> Result<Meaning> {
    meaning(&Name::parse(name.as_bytes()).unwrap())
}

#[test]
fn whiteouts_are_told_from_files() {
    let removed = |name: &str| Meaning::Removed(Name::parse(name.as_bytes()).unwrap());
    assert_eq!(of("a/b").unwrap(), Meaning::Plain);
    assert_eq!(of("a/x.wh.b").unwrap(), Meaning::Plain);
    assert_eq!(of("").unwrap(), Meaning::Plain);
    assert_eq!(of(".wh.b").unwrap(), removed("b"));
    assert_eq!(of("a/.wh.b").unwrap(), removed("a/b"));
    assert_eq!(of("a/.wh...b").unwrap(), removed("a/..b"));
    assert_eq!(of(".wh..wh..opq").unwrap(), Meaning::Opaque);
    assert_eq!(of("a/.wh..wh..opq").unwrap(), Meaning::Opaque);
    assert_eq!(of("a/.wh..wh.plnk").unwrap(), Meaning::Skip);
    assert_eq!(of("a/.wh..wh.plnk/1.2").unwrap(), Meaning::Skip);
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", "a/.wh.", "a/.wh..", "a/.wh...", "a/.wh.b/c"] {
        assert!(of(name).is_err(), "{name}");
    }
}

#[test]
fn names_of_whiteouts_mean_what_they_are_made_for() {
    for path in ["f", "a/b", "a/.b", "..b"] {
        let name = Name::parse(&removed(path.as_bytes())).unwrap();
        assert_eq!(meaning(&name).unwrap(), Meaning::Removed(Name::parse(path.as_bytes()).unwrap()));
    }
    for path in ["", "a", "a/b"] {
        let name = Name::parse(&opaque(path.as_bytes())).unwrap();
        assert_eq!(meaning(&name).unwrap(), Meaning::Opaque);
        assert_eq!(name.split().unwrap().0, path.as_bytes());
    }
}
