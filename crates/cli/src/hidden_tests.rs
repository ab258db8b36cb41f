use super::*;

#[test]
fn one_line_end_goes_and_nothing_else() {
    for (given, wanted) in [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("a\nb\n", "a\nb"),
        (" a ", " a "),
        ("\n", ""),
        ("", ""),
    ] {
        assert_eq!(bounded(given.as_bytes()).unwrap().as_slice(), wanted.as_bytes(), "{given:?}");
    }
}

#[test]
fn the_longest_value_passes_and_a_longer_one_is_seen() {
    let long = |extra: usize| bounded(io::repeat(b'x').take((Secret::MAX + extra) as u64)).unwrap();
    assert!(Secret::wiped(long(0)).is_ok());
    assert!(Secret::wiped(long(1)).is_err());
    assert!(Secret::wiped(bounded(io::repeat(b'x')).unwrap()).is_err());
}

#[test]
fn words_are_not_shown() {
    let word: Word = "sk-hidden".parse().unwrap();
    assert_eq!((format!("{word:?}").as_str(), word.text()), ("[hidden]", "sk-hidden"));
}
