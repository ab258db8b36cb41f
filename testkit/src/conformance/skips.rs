//! Which cases a backend may skip in a setting: a committed file of names, one a line, `#` begins a remark.

use std::collections::BTreeSet;

/// The names in the text of such a file.
///
/// # Errors
/// The line that is no name of a case, so that a list cannot outlive what it lists.
pub fn parse(text: &str, known: &[String]) -> Result<BTreeSet<String>, String> {
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim()).filter(|l| !l.is_empty());
    lines
        .map(|line| match known.iter().any(|k| k == line) {
            true => Ok(line.to_owned()),
            false => Err(format!("'{line}' is not the name of a case")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_left_out_and_unknown_names_are_errors() {
        let known = ["once::a".to_owned(), "named::a".to_owned()];
        let names = parse("# why\nonce::a   # because\n\n named::a\n", &known).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["named::a", "once::a"]);
        assert_eq!(parse("once::b", &known), Err("'once::b' is not the name of a case".to_owned()));
    }
}
