use super::*;
use rustix::fs::{RenameFlags, renameat_with};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
};

/// `a/b/c`, watched, and another directory beside `b`.
fn watched() -> (tempfile::TempDir, PathBuf, Watch) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().canonicalize().unwrap();
    fs::create_dir_all(place.join("a/b/c")).unwrap();
    fs::create_dir_all(place.join("a/other/c")).unwrap();
    let mut watch = Watch::new().unwrap();
    let held = watch.follow(&place.join("a/b/c")).unwrap();
    let meta = fs::metadata(place.join("a/b/c")).unwrap();
    assert_eq!(rustix::fs::fstat(&held).unwrap().st_ino, meta.ino());
    (dir, place, watch)
}

#[test]
fn what_happens_beside_the_names_is_nobodys_fault() {
    let (_dir, place, watch) = watched();
    fs::write(place.join("a/b/c/file"), "").unwrap();
    fs::rename(place.join("a/other"), place.join("a/moved")).unwrap();
    symlink("/", place.join("a/b/link")).unwrap();
    watch.check().unwrap();
}

#[test]
fn a_name_on_the_way_that_is_moved_or_removed_is_told() {
    for act in [
        |place: &Path| fs::rename(place.join("a/b"), place.join("a/moved")).unwrap(),
        |place: &Path| fs::remove_dir(place.join("a/b/c")).unwrap(),
        // Back where it was, before anybody looks again.
        |place: &Path| {
            fs::rename(place.join("a"), place.join("x")).unwrap();
            fs::rename(place.join("x"), place.join("a")).unwrap();
        },
        |place: &Path| {
            let (a, b) = (place.join("a/other"), place.join("a/b"));
            renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
        },
    ] {
        let (_dir, place, watch) = watched();
        act(&place);
        assert_eq!(watch.check().unwrap_err().kind(), Kind::Conflict);
    }
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let (_dir, place, mut watch) = watched();
    symlink("b", place.join("a/link")).unwrap();
    for path in ["a/link", "a/link/c"] {
        assert_eq!(watch.follow(&place.join(path)).unwrap_err().kind(), Kind::Conflict, "{path}");
    }
}
