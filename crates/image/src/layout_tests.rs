use super::*;

#[test]
fn names_of_files_hold_no_slash_and_are_short_enough() {
    let long = format!("registry.example.com:5000/{}:tag", "a/".repeat(100) + "b");
    for text in [
        "python",
        "localhost:5000/a/b:1",
        "ghcr.io/x/y@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        &long,
    ] {
        let name = file_name(&text.parse().unwrap());
        assert!(!name.contains('/') && name.len() <= 200 && !name.starts_with('.'), "{name}");
    }
}

#[test]
fn two_references_have_two_files() {
    let names = ["a/b:c", "a-b:c", "a/b-c", "docker.io/a/b:d"];
    let mut files: Vec<String> = names.iter().map(|n| file_name(&n.parse().unwrap())).collect();
    files.sort();
    files.dedup();
    assert_eq!(files.len(), names.len());
    let [short, full] = ["python", "docker.io/library/python:latest"].map(|n| file_name(&n.parse().unwrap()));
    assert_eq!(short, full, "one image, two spellings");
}
