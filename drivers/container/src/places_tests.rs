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

#[cfg(target_os = "linux")]
#[test]
fn a_copied_data_directory_is_another_owner_on_another_machine() {
    let place = tempfile::tempdir().unwrap();
    let (here, copied) = (place.path().join("here"), place.path().join("copied"));
    let kept = kept_mark(&here).unwrap();
    assert_eq!(kept_mark(&here).unwrap(), kept, "it is made up once");
    fs::create_dir(&copied).unwrap();
    fs::copy(here.join("owner"), copied.join("owner")).unwrap();
    let (ours, theirs) = ("ab".repeat(16), "cd".repeat(16));
    let mark = |dir: &Path, machine: &str| mark_on(&kept_mark(dir).unwrap(), Some(machine));
    assert_eq!(mark(&copied, &ours), mark(&here, &ours), "the directory has moved");
    assert_ne!(mark(&copied, &theirs), mark(&here, &ours));
    assert_ne!(mark(&place.path().join("other"), &ours), mark(&here, &ours), "another directory");
    assert!(![kept.as_str(), &ours].contains(&mark(&here, &ours).as_str()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_is_told_by_a_whole_id_alone() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let told = || machine([first.as_path(), &second]);
    assert_eq!(told(), None);
    fs::write(&second, format!("{}\n", "ab".repeat(16))).unwrap();
    for none in ["", "uninitialized\n", "ab\n"] {
        fs::write(&first, none).unwrap();
        assert_eq!(told(), Some("ab".repeat(16)), "{none}");
    }
    fs::write(&first, "cd".repeat(16)).unwrap();
    assert_eq!(told(), Some("cd".repeat(16)));
}
