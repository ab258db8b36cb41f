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
        waiting.await.unwrap();
    });
}
