use super::*;
use rustix::fs::{CWD, mkdirat, openat};

/// More than a process may have descriptors, and longer than a path may be.
const DEEP: usize = 3_000;

#[tokio::test]
async fn what_a_sandbox_wrote_goes_however_deep_it_is() {
    let data = tempfile::tempdir().unwrap();
    let place = Place(data.path().join("container"));
    place.make().unwrap();
    let upper = place.overlay(0);
    fs::create_dir_all(&upper).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = openat(CWD, &upper, flags, Mode::empty()).unwrap();
    for _ in 0..DEEP {
        mkdirat(&directory, "d", Mode::RWXU).unwrap();
        directory = openat(&directory, "d", flags, Mode::empty()).unwrap();
    }
    place.remove().await.unwrap();
    assert!(!place.path().exists());
    place.remove().await.unwrap();
}
