use super::*;
use std::{os::unix::fs::symlink, sync::Barrier};
use tempfile::tempdir;

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn lines_are_appended_to_a_file_of_its_owner_alone() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\n", 100).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    append(&path, b"two\n", 100).unwrap();
    assert_eq!(text(&path), "one\ntwo\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert!(!old(&path).exists());
}

#[test]
fn a_full_file_is_moved_away_and_one_is_kept() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    for line in ["1111\n", "2222\n", "3333\n", "4444\n", "5555\n"] {
        append(&path, line.as_bytes(), 10).unwrap();
    }
    assert_eq!((text(&old(&path)), text(&path)), ("3333\n4444\n".to_owned(), "5555\n".to_owned()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_line_that_is_longer_than_a_file_may_be_is_written_all_the_same() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"much too long\n", 4).unwrap();
    append(&path, b"x\n", 4).unwrap();
    assert_eq!((text(&old(&path)), text(&path)), ("much too long\n".to_owned(), "x\n".to_owned()));
}

/// Threads stand for processes here: every append opens the file anew, and locks belong to what was opened.
#[test]
fn nothing_is_lost_or_mixed_when_many_write_across_a_rotation() {
    const WRITERS: usize = 8;
    const LINES: usize = 400;
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    let line = |writer: usize, n: usize| format!("{writer} {n:04} {}\n", "x".repeat(50));
    // All lines together fill the file once, not twice.
    let limit = (WRITERS * LINES * line(0, 0).len() * 2 / 3) as u64;
    let barrier = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (path, barrier) = (&path, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for n in 0..LINES {
                    append(path, line(writer, n).as_bytes(), limit).unwrap();
                }
            });
        }
    });
    let all = text(&old(&path)) + &text(&path);
    for writer in 0..WRITERS {
        let own: Vec<&str> = all.lines().filter(|l| l.starts_with(&format!("{writer} "))).collect();
        let expected: Vec<String> = (0..LINES).map(|n| line(writer, n).trim_end().to_owned()).collect();
        assert_eq!(own, expected, "writer {writer}");
    }
    assert!(!text(&path).is_empty());
}

#[test]
fn a_process_that_was_stopped_with_the_lock_stops_nobody() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"1111\n", 10).unwrap();
    let stopped = File::open(&path).unwrap();
    for held in [FlockOperation::LockShared, FlockOperation::LockExclusive] {
        flock(&stopped, held).unwrap();
        append(&path, b"2222\n", 5).unwrap();
    }
    assert_eq!(text(&path), "1111\n2222\n2222\n");
    drop(stopped);
    append(&path, b"3333\n", 5).unwrap();
    assert_eq!(text(&path), "3333\n");
}

#[test]
fn what_is_no_plain_file_is_refused_at_once() {
    let dir = tempdir().unwrap();
    let target = dir.path().join("target");
    fs::write(&target, "").unwrap();
    symlink(&target, dir.path().join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    for name in ["link", "pipe", "missing/log"] {
        assert!(append(&dir.path().join(name), b"x\n", 10).is_err(), "{name}");
    }
    assert_eq!(text(&target), "");
}

#[test]
fn a_line_begins_behind_half_of_another() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "one\nhal").unwrap();
    append(&path, b"two\n", 100).unwrap();
    append(&path, b"three\n", 100).unwrap();
    assert_eq!(text(&path), "one\nhal\ntwo\nthree\n");
}

#[test]
fn a_part_of_a_line_is_taken_back_where_it_is_the_end() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    append(&path, b"one\ntw", 100).unwrap();
    // Opened anew each time: what has the lock has it until it is closed.
    let take_back = |part| take_back(&open(&path).unwrap(), part).unwrap();
    take_back(b"on");
    assert_eq!(text(&path), "one\ntw", "somebody wrote behind it");
    let writes = File::open(&path).unwrap();
    flock(&writes, FlockOperation::LockShared).unwrap();
    take_back(b"tw");
    assert_eq!(text(&path), "one\ntw", "somebody writes");
    drop(writes);
    take_back(b"tw");
    assert_eq!(text(&path), "one\n");
}
