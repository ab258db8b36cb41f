use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

const LIMIT: usize = 64;

fn write(root: &Path, path: &str, links: Links, text: &str) -> Result<()> {
    let place = Place::find(root, path, links)?;
    let before = place.read(LIMIT)?;
    place.replace(before.as_ref(), text, LIMIT)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.collect()
}

#[test]
fn directories_are_made_and_modes_kept() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a/b/c.json", Links::Contained, "one").unwrap();
    let file = root.path().join("a/b/c.json");
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    assert_eq!(file.metadata().unwrap().mode() & 0o111, 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let before = file.metadata().unwrap().ino();
    write(root.path(), "a/b/c.json", Links::Contained, "two").unwrap();
    let after = file.metadata().unwrap();
    assert_eq!((fs::read_to_string(&file).unwrap().as_str(), after.mode() & 0o7777), ("two", 0o640));
    assert_ne!(after.ino(), before, "it was written in place, where a kill leaves half");
    assert_eq!(names(&root.path().join("a/b")), ["c.json"], "something was left beside it");
}

#[test]
fn a_link_out_of_the_directory_is_followed_only_when_somebody_says_so() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("f"), "mine").unwrap();
    symlink(other.path(), root.path().join("dir")).unwrap();
    symlink(other.path().join("f"), root.path().join("file")).unwrap();
    for path in ["dir/f", "file", "dir/new/g"] {
        let error = write(root.path(), path, Links::Contained, "x").unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{path}: {error}");
        assert!(error.hint().unwrap().contains("--force"));
    }
    assert_eq!(names(other.path()), ["f"]);
    assert_eq!(fs::read_to_string(other.path().join("f")).unwrap(), "mine");
    write(root.path(), "file", Links::Anywhere, "x").unwrap();
    assert!(root.path().join("file").is_symlink(), "the link itself stays");
    assert_eq!(fs::read_to_string(other.path().join("f")).unwrap(), "x");
}

#[test]
fn a_link_within_it_is_followed_and_one_to_nowhere_is_not() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("real"), "old").unwrap();
    symlink("real", root.path().join("link")).unwrap();
    write(root.path(), "link", Links::Contained, "new").unwrap();
    assert!(root.path().join("link").is_symlink());
    assert_eq!(fs::read_to_string(root.path().join("real")).unwrap(), "new");
    symlink("nowhere", root.path().join("dangling")).unwrap();
    for links in [Links::Contained, Links::Anywhere] {
        let error = write(root.path(), "dangling", links, "x").unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
    }
    assert!(!root.path().join("nowhere").exists());
}

#[test]
fn what_comes_between_a_look_and_a_write_is_noticed() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(root.path().join("d")).unwrap();
    let place = Place::find(root.path(), "d/f", Links::Contained).unwrap();
    assert_eq!(place.read(LIMIT).unwrap(), None);
    fs::write(root.path().join("d/f"), "theirs").unwrap();
    assert_eq!(place.replace(None, "ours", LIMIT).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(fs::read_to_string(root.path().join("d/f")).unwrap(), "theirs");
    assert_eq!(names(&root.path().join("d")), ["f"]);
    let before = place.read(LIMIT).unwrap();
    // A link in place of the file, and then of its directory.
    fs::remove_file(root.path().join("d/f")).unwrap();
    fs::write(other.path().join("f"), "theirs").unwrap();
    symlink(other.path().join("f"), root.path().join("d/f")).unwrap();
    assert_eq!(place.replace(before.as_ref(), "ours", LIMIT).unwrap_err().kind(), Kind::Conflict);
    fs::remove_dir_all(root.path().join("d")).unwrap();
    symlink(other.path(), root.path().join("d")).unwrap();
    assert!(place.replace(before.as_ref(), "ours", LIMIT).is_err());
    assert_eq!(fs::read_to_string(other.path().join("f")).unwrap(), "theirs");
    assert_eq!(names(other.path()), ["f"]);
}

#[test]
fn what_is_no_text_file_is_refused_unread() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("dir")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    fs::write(root.path().join("binary"), b"a\xff").unwrap();
    fs::write(root.path().join("long"), "x".repeat(LIMIT + 1)).unwrap();
    fs::write(root.path().join("file"), "x").unwrap();
    for path in ["dir", "pipe", "binary", "long", "file/below"] {
        let error = Place::find(root.path(), path, Links::Contained).and_then(|p| p.read(LIMIT)).unwrap_err();
        assert!(error.kind() == Kind::Config || path == "file/below", "{path}: {error}");
        assert!(error.hint().is_some() || path == "file/below", "{path}: {error}");
    }
}
