use super::*;

const HEX: &str = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3a94a8fe5ccb19ba61c4c0873";

#[test]
fn a_listed_package_is_its_file_and_its_digest() {
    let line = format!("'http://h/pool/b/busy%2bbox.deb' busybox_1%3a1.35+b1_amd64.deb 928188 SHA256:{HEX}");
    let package = parse_line(&line).unwrap();
    assert_eq!(package.file, "busybox_1%3a1.35+b1_amd64.deb");
    assert_eq!(package.digest.hex(), HEX);
}

#[test]
fn a_line_without_a_strong_digest_or_with_a_path_is_no_package() {
    let lines = [
        "'http://h/a.deb' a.deb 1 MD5Sum:f6f1b0b4181aead8e1a5b1258f63f501".to_owned(),
        "'http://h/a.deb' a.deb 1 ".to_owned(),
        format!("'http://h/a.deb' ../a.deb 1 SHA256:{HEX}"),
        format!("'http://h/a.deb' a.txt 1 SHA256:{HEX}"),
        String::new(),
    ];
    for line in lines {
        assert_eq!(parse_line(&line), None, "{line}");
    }
}

#[test]
fn a_package_that_is_not_there_is_told_from_an_archive_that_does_not_answer() {
    let unknown = refused(&["install", "x"], "W: odd\nE: Unable to locate package x\n");
    assert_eq!(unknown.kind(), Kind::NotFound);
    assert_eq!(unknown.message(), "apt-get install x failed: Unable to locate package x");
    let silent = refused(&["update"], "E: Failed to fetch http://h/\n");
    assert_eq!((silent.kind(), silent.retry()), (Kind::Unavailable, agentkernel_model::error::Retry::Later));
}
