use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec()).unwrap()
}

fn file(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (dir, path)
}

#[test]
fn a_key_opens_and_nothing_else_does() {
    let (_dir, path) = file("# of the team\n\nsk-file \n", 0o600);
    let keys = ApiKeys::load(KeySource::new(&[secret("sk-flag")], Some(path)).unwrap()).unwrap();
    assert!(keys.are_required());
    assert!(keys.accept(b"sk-flag") && keys.accept(b"sk-file"));
    for wrong in ["", "sk", "sk-flag ", "SK-FLAG", "# of the team", "sk-flagsk-flag"] {
        assert!(!keys.accept(wrong.as_bytes()), "{wrong}");
    }
    assert!(!format!("{keys:?}").contains("sk-"));
}

#[test]
fn without_a_source_no_key_is_asked_for() {
    assert!(!ApiKeys::load(KeySource::default()).unwrap().are_required());
}

#[test]
fn a_file_is_read_again_and_a_broken_one_changes_nothing() {
    let (_dir, path) = file("one\n", 0o600);
    let keys = ApiKeys::load(KeySource::new(&[], Some(path.clone())).unwrap()).unwrap();
    fs::write(&path, "two\n").unwrap();
    keys.reload().unwrap();
    assert!(!keys.accept(b"one") && keys.accept(b"two"));
    for broken in ["", "# none\n", "with space\n"] {
        fs::write(&path, broken).unwrap();
        keys.reload().unwrap_err();
        assert!(keys.accept(b"two") && keys.are_required(), "{broken}");
    }
}

#[test]
fn a_file_that_others_can_read_or_write_is_refused() {
    for mode in [0o622, 0o604, 0o601, 0o620] {
        let (_dir, path) = file("one\n", mode);
        let error = ApiKeys::load(KeySource::new(&[], Some(path)).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{mode:o}");
    }
}
