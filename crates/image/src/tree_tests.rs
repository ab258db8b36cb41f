use super::*;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

#[test]
fn removes_any_depth_any_mode_and_follows_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("a/.moved-1/b")).unwrap();
    fs::create_dir(tree.join(".moved-1")).unwrap();
    fs::write(tree.join(".moved-1/x"), "").unwrap();
    fs::write(tree.join(".moved-2"), "a file of the tree").unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    // Deeper than descriptors would last, and than a path may be long.
    let mut at = open(CWD, &tree).unwrap();
    for _ in 0..1100 {
        rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
        at = open(at.as_fd(), "deep").unwrap();
    }
    fs::set_permissions(tree.join("a/.moved-1"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o555)).unwrap();
    remove(&tree).unwrap();
    assert!(!tree.exists());
    assert!(outside.join("kept").exists());
    remove(&tree).unwrap();
}

#[test]
fn a_link_in_place_of_the_tree_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/kept"), "").unwrap();
    symlink("outside", dir.path().join("link")).unwrap();
    remove(&dir.path().join("link")).unwrap_err();
    assert!(dir.path().join("outside/kept").exists());
}
