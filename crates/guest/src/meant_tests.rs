use super::*;
use std::{fs, fs::File, os::unix::fs::symlink};

#[test]
fn another_directory_of_the_same_name_is_not_what_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shown");
    fs::create_dir(&path).unwrap();
    let held = File::open(&path).unwrap();
    let meant = Meant { target: path.display().to_string(), identity: Identity::of(&held).unwrap() };
    meant.check().unwrap();
    fs::rename(&path, dir.path().join("moved")).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(meant.check().unwrap_err().errno, libc::ESTALE);
    fs::remove_dir(&path).unwrap();
    assert_eq!(meant.check().unwrap_err().errno, libc::ENOENT);
    symlink(dir.path().join("moved"), &path).unwrap();
    meant.check().unwrap();
}
