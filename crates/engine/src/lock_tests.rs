use super::*;
use tempfile::TempDir;

#[test]
fn one_holder_at_a_time_and_looks_do_not_hold() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    assert!(!is_held(&path).unwrap());
    assert!(!path.exists(), "a look makes no file");
    let lock = Lock::attempt(&path).unwrap().unwrap();
    assert!(is_held(&path).unwrap());
    assert!(Lock::attempt(&path).unwrap().is_none());
    assert!(Lock::attempt_past_looks(&path).unwrap().is_none());
    drop(lock);
    assert!(!is_held(&path).unwrap());
}

#[test]
fn a_look_keeps_no_keeper_out() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    drop(Lock::attempt(&path).unwrap());
    let look = File::open(&path).unwrap();
    flock(&look, FlockOperation::LockShared).unwrap();
    assert!(Lock::attempt(&path).unwrap().is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Lock::attempt_past_looks(&path).unwrap().is_some());
        drop(look);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn a_shared_lock_outlives_its_first_owner() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::attempt(&path).unwrap().unwrap();
    let copy = lock.0.try_clone().unwrap();
    drop(lock);
    assert!(is_held(&path).unwrap());
    let adopted = Lock::adopt(copy, &path).unwrap().unwrap();
    assert!(is_held(&path).unwrap());
    drop(adopted);
    assert!(!is_held(&path).unwrap());
    assert!(Lock::adopt(File::open("/dev/null").unwrap(), &path).unwrap().is_none());
}

#[test]
fn waiting_ends_when_the_holder_lets_go() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let lock = Lock::attempt(&path).unwrap().unwrap();
        let mut waiting = Box::pin(Lock::wait(&path, "a test"));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the lock was held"),
            () = tokio::task::yield_now() => {}
        }
        drop(lock);
        assert!(waiting.await.unwrap().is_some());
    });
}

/// The directory of a lock, and its path.
fn place() -> (TempDir, std::path::PathBuf) {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    (dir, inner.join("lock"))
}

#[test]
fn a_lock_goes_with_its_directory() {
    let (_dir, path) = place();
    let Reached::Held(lock) = Lock::reach(&path).unwrap() else { panic!("nobody holds it") };
    assert!(matches!(Lock::reach(&path).unwrap(), Reached::Busy));
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert!(matches!(Lock::reach(&path).unwrap(), Reached::Missing));
    assert!(!path.parent().unwrap().exists(), "reaching makes no directory");
    drop(lock);
}

#[test]
fn who_waited_for_a_lock_that_was_removed_does_not_hold_it() {
    let (_dir, path) = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for again in [false, true] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let Reached::Held(lock) = Lock::reach(&path).unwrap() else { panic!("nobody holds it") };
        // Opened before the removal, locked after it.
        let file = File::open(&path).unwrap();
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
        if again {
            std::fs::create_dir(path.parent().unwrap()).unwrap();
            drop(File::create(&path).unwrap());
        }
        drop(lock);
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        assert_eq!(runtime.block_on(Lock::wait(&path, "a test")).unwrap().is_some(), again);
    }
}

#[test]
fn a_release_is_waited_for_as_long_as_one_has_patience() {
    let (_dir, path) = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let released = |patience| is_released(&path, Duration::from_millis(patience));
        assert!(released(0).await.unwrap(), "there is no lock");
        let lock = Lock::attempt(&path).unwrap().unwrap();
        assert!(!released(20).await.unwrap());
        let (now, free) = tokio::join!(released(20_000), async { drop(lock) });
        assert!(now.unwrap());
        free
    });
}
