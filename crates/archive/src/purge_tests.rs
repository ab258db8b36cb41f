use super::*;
use rustix::fs::{chmodat, mkdirat, symlinkat};
use std::{fs, os::unix::fs::PermissionsExt as _};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Deeper than a path can name, than a process may have descriptors, and than a test's stack has room for.
const DEEP: usize = 6_000;

/// Directories in each other below `top`, which no single path could name; the lowest one.
fn chain(top: &Path, depth: usize) -> OwnedFd {
    let mut directory = rustix::fs::openat(CWD, top, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&directory, "d", Mode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, "d", DIRECTORY, Mode::empty()).unwrap();
    }
    directory
}

#[test]
fn a_tree_of_any_depth_goes() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let lowest = chain(&tree, DEEP);
    rustix::fs::openat(&lowest, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    drop(lowest);
    remove_tree(&tree).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn names_in_the_way_do_not_stop_it() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir_all(tree.join(".agentkernel-purge-0/full")).unwrap();
    fs::write(tree.join(".agentkernel-purge-1"), "").unwrap();
    fs::create_dir(tree.join(".agentkernel-purge-2")).unwrap();
    symlinkat("/", CWD, tree.join(".agentkernel-purge-3")).unwrap();
    drop(chain(&tree, 5 * MAX_DEPTH));
    remove_tree(&tree).unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn modes_do_not_matter_and_links_are_not_followed() {
    let place = tempfile::tempdir().unwrap();
    let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
    fs::create_dir_all(tree.join("closed/inner")).unwrap();
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "kept").unwrap();
    symlinkat(&kept, CWD, tree.join("closed/inner/link")).unwrap();
    symlinkat(&kept, CWD, tree.join("link")).unwrap();
    fs::hard_link(kept.join("file"), tree.join("closed/name")).unwrap();
    // Deep and closed: it has to be opened to be moved.
    let lowest = chain(&tree, MAX_DEPTH + 1);
    mkdirat(&lowest, "e", Mode::RWXU).unwrap();
    chmodat(&lowest, "e", Mode::empty(), AtFlags::empty()).unwrap();
    rustix::fs::fchmod(&lowest, Mode::empty()).unwrap();
    for closed in ["closed/inner", "closed", ""] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "kept");
}

#[test]
fn what_is_no_directory_goes_and_what_is_not_there_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let (file, link) = (place.path().join("file"), place.path().join("link"));
    fs::write(&file, "").unwrap();
    symlinkat(place.path(), CWD, &link).unwrap();
    for path in [&link, &file, &file, &place.path().join("no/such")] {
        remove_tree(path).unwrap();
        assert!(path.symlink_metadata().is_err());
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert_eq!(remove_tree(Path::new("/")), Err(Errno::INVAL));
}
