use super::*;
use std::{
    fs::{self, Permissions, hard_link},
    os::unix::fs::{PermissionsExt as _, symlink},
};

fn directory() -> (tempfile::TempDir, Directory) {
    let place = tempfile::tempdir().unwrap();
    let made = Directory::make(&place.path().join("a/secrets")).unwrap();
    (place, made)
}

#[test]
fn what_is_made_is_for_its_owner_only() {
    let (_place, made) = directory();
    made.replace("vault", b"one").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&made.path), mode(&made.path.join("vault"))), (0o700, 0o600));
    assert_eq!(made.read("vault", 3).unwrap().unwrap().as_slice(), b"one");
    assert!(made.read("other", 3).unwrap().is_none());
    assert!(made.read("vault", 2).is_err());
}

#[test]
fn a_file_that_is_not_private_is_refused() {
    let (place, made) = directory();
    let (path, outside) = (made.path.join("vault"), place.path().join("outside"));
    let denied = |what: &str| {
        let error = made.read("vault", 100).expect_err(what);
        assert!(error.kind() == Kind::Denied && error.hint().is_some(), "{what}: {error}");
        fs::remove_file(&path).unwrap();
    };
    for mode in [0o640, 0o604, 0o620, 0o601] {
        made.replace("vault", b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        denied("readable");
    }
    fs::write(&outside, "one").unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
    symlink(&outside, &path).unwrap();
    denied("symbolic link");
    hard_link(&outside, &path).unwrap();
    denied("hard link");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    denied("pipe");
}

#[test]
fn a_directory_that_others_change_is_refused() {
    let (place, made) = directory();
    fs::set_permissions(&made.path, Permissions::from_mode(0o770)).unwrap();
    assert_eq!(Directory::open(&made.path).unwrap_err().kind(), Kind::Denied);
    let link = place.path().join("link");
    symlink(&made.path, &link).unwrap();
    assert_eq!(Directory::open(&link).unwrap_err().kind(), Kind::Denied);
    assert!(Directory::open(&place.path().join("none")).unwrap().is_none());
}

#[test]
fn a_kill_at_any_step_leaves_the_old_or_the_new() {
    let (_place, made) = directory();
    made.replace("vault", b"old").unwrap();
    for at in [Step::Created, Step::Written, Step::Synced, Step::Renamed] {
        let mut killed = |step| if step == at { Err(Error::internal("killed")) } else { Ok(()) };
        made.replace_in_steps("vault", b"new", &mut killed).unwrap_err();
        let found = made.read("vault", 3).unwrap().unwrap();
        let wanted: &[u8] = if at == Step::Renamed { b"new" } else { b"old" };
        assert_eq!(found.as_slice(), wanted, "{at:?}");
        // And what it left is in nobody's way.
        made.replace("vault", b"old").unwrap();
        assert!(!made.path.join("vault.new").exists(), "{at:?}");
    }
}

#[test]
fn one_writer_at_a_time() {
    let (_place, made) = directory();
    let held = made.lock().unwrap();
    let other = Directory::open(&made.path).unwrap().unwrap();
    let waiting = std::thread::spawn(move || other.lock().map(drop));
    let file = File::open(made.path.join(LOCK)).unwrap();
    assert_eq!(flock(&file, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
    drop(held);
    waiting.join().unwrap().unwrap();
}
