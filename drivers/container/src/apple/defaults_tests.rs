use super::*;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_file_of_variables_has_one_a_line() {
    let text = env_file(&pairs(&[("A", "1"), ("B", "a b=c # d"), ("C", "")])).unwrap();
    assert_eq!(text, "A=1\nB=a b=c # d\nC=\n");
}

#[test]
fn what_would_be_read_as_another_variable_is_refused_without_its_value() {
    for (key, value) in
        [("A", "x\nLD_PRELOAD=/y"), ("A", "x\rB=y"), ("A", "x\u{2028}y"), ("#A", "x"), ("A B", "x")]
    {
        let error = env_file(&pairs(&[(key, value)])).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(!error.to_string().contains(value), "{error}");
        assert!(error.hint().is_some());
    }
}
