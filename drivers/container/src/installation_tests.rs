use super::*;
use std::time::Instant;

/// How long anything here may take; no test comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn an_installed_program_runs_with_what_is_beside_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Installation::of(Path::new("/bin/ls"), dir.path()).unwrap();
    let again = Installation::of(Path::new("/bin/ls"), dir.path()).unwrap();
    assert_eq!((&first.source, first.is_static), (&again.source, again.is_static));
    let inside = first.source.display().to_string();
    let words = first.command(&inside, "/");
    let ran = Command::new(&words[0]).args(&words[1..]).env_clear().output().unwrap();
    assert!(ran.status.success(), "{words:?}: {ran:?}");
    let interpreter = fs::read(first.source.join(INTERPRETER)).unwrap();
    assert!(!interpreter.windows(18).any(|w| w == b"/etc/ld.so.preload"), "it reads the image's file");
    let before = fs::read_link(&first.source).unwrap();
    let other = Installation::of(Path::new("/bin/cat"), dir.path()).unwrap();
    assert_eq!(other.source, first.source);
    assert_ne!(fs::read_link(&other.source).unwrap(), before);
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_build_goes_when_nobody_uses_it_and_another_is_current() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(sweep(&dir.path().join("none")).unwrap(), 0);
    let first = Installation::of(Path::new("/bin/ls"), dir.path()).unwrap();
    let copy = first.clone();
    let second = Installation::of(Path::new("/bin/cat"), dir.path()).unwrap();
    let both = names(dir.path());
    assert_eq!((both.len(), sweep(dir.path()).unwrap()), (3, 0));
    drop(first);
    assert_eq!(sweep(dir.path()).unwrap(), 0, "somebody uses it still");
    drop(copy);
    drop(second);
    // A lease lives as long as any copy of its descriptor, and a test beside this one that starts a process has copies of
    // all that this process has open, until the new one is what it is to be.
    let deadline = Instant::now() + DEADLINE;
    while sweep(dir.path()).unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody uses it");
        std::thread::yield_now();
    }
    let left = names(dir.path());
    assert_eq!(left.len(), 2, "the current one and its link: {left:?}");
    // What was swept is made again.
    Installation::of(Path::new("/bin/ls"), dir.path()).unwrap();
    assert_eq!(names(dir.path()), both);
}

#[test]
fn what_was_never_finished_goes_when_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let _current = Installation::of(Path::new("/bin/ls"), dir.path()).unwrap();
    let before = names(dir.path());
    fs::create_dir(dir.path().join("new.1")).unwrap();
    fs::write(dir.path().join("new.1/agentkernel"), "half").unwrap();
    fs::create_dir(dir.path().join("new.2")).unwrap();
    fs::create_dir_all(dir.path().join("old.0123.1")).unwrap();
    let long_ago = SystemTime::now().checked_sub(2 * ABANDONED).unwrap();
    File::open(dir.path().join("new.1")).unwrap().set_modified(long_ago).unwrap();
    sweep(dir.path()).unwrap();
    fs::remove_dir(dir.path().join("new.2")).unwrap();
    assert_eq!(names(dir.path()), before);
}

#[test]
fn who_waited_for_a_sweep_finds_that_the_build_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("build");
    fs::create_dir(&place).unwrap();
    let held = lease(&place).unwrap().unwrap();
    fs::rename(&place, dir.path().join("old.build")).unwrap();
    assert!(lease(&place).unwrap().is_none());
    fs::create_dir(&place).unwrap();
    assert!(lease(&place).unwrap().is_some());
    drop(held);
}
