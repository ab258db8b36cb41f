use super::*;

fn map() -> IdMap {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    IdMap::Single { uid, gid }
}

#[test]
fn a_sweep_takes_what_nobody_locks_and_leaves_the_rest() {
    let runs = tempfile::tempdir().unwrap();
    let live = Run::create(&runs.path().join("live"), map()).unwrap();
    fs::write(runs.path().join("dead"), "").unwrap();
    let work = runs.path().join("dead.layers/workspace/work/work");
    fs::create_dir_all(&work).unwrap();
    fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o0)).unwrap();
    sweep(runs.path(), &map());
    assert!(runs.path().join("live").exists());
    assert!(!runs.path().join("dead").exists() && !runs.path().join("dead.layers").exists());
    drop(live);
    assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn trees_of_any_depth_go_and_links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("keep"), "x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    std::os::unix::fs::symlink(outside.path(), top.join("link")).unwrap();
    // Deeper than a path can name.
    let mut at = rustix::fs::open(&top, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for _ in 0..1500 {
        rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "d", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    purge(&top, &map()).unwrap();
    assert!(!top.exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing moved up is left");
    assert!(outside.path().join("keep").exists());
}
