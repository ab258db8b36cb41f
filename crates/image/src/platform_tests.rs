use super::*;

fn fit(wanted: &str, offered: &str) -> Option<u8> {
    wanted.parse::<Platform>().unwrap().fit(&offered.parse().unwrap())
}

#[test]
fn variants_that_ask_for_more_are_for_those_who_name_them() {
    assert_eq!(fit("linux/amd64", "linux/amd64"), Some(1));
    assert_eq!(fit("linux/amd64", "linux/amd64/v3"), None);
    assert_eq!(fit("linux/amd64/v3", "linux/amd64/v3"), Some(0));
    assert_eq!(fit("linux/arm64", "linux/arm64/v8"), Some(0));
    assert_eq!(fit("linux/arm64", "linux/arm64/v9"), None);
    assert_eq!(fit("linux/arm64", "linux/arm/v7"), None);
    assert_eq!(fit("linux/amd64", "windows/amd64"), None);
}

#[test]
fn parts_are_words() {
    for bad in ["", "linux", "linux/", "/amd64", "linux/am d64", "linux/amd64/\u{1b}[0m", "a/b/c/d"] {
        bad.parse::<Platform>().unwrap_err();
    }
    assert_eq!("linux/arm64/v8".parse::<Platform>().unwrap().to_string(), "linux/arm64/v8");
    assert_eq!("linux/amd64/".parse::<Platform>().unwrap().to_string(), "linux/amd64");
}
