#[test]
fn frequent_words_come_first() {
    assert_eq!(wordcount::count("b a b"), [("b", 2), ("a", 1)]);
}

#[test]
fn nothing_has_no_words() {
    assert!(wordcount::count(" \n").is_empty());
}
