use super::{super::log::Log, *};
use std::path::Path;

fn log(dir: &Path) -> Log {
    Log::bounded(dir.join("log"), 100).unwrap()
}

fn tail(dir: &Path, at: u64) -> Tail {
    Tail { path: dir.join("log"), stream: DetachedStream::Stdout, at, open: None }
}

/// Everything that is there: the bytes, and how many are not there.
fn read(tail: &mut Tail, log: &Log) -> (Vec<u8>, u64) {
    let (mut all, mut lacking) = (Vec::new(), 0);
    while let Some(event) = tail.more(log.dropped(), Some(log.start()), false).unwrap() {
        match event {
            CommandEvent::Output { bytes, .. } => all.extend(bytes),
            CommandEvent::Gap { bytes, .. } => lacking += bytes,
            CommandEvent::Ended(_) => unreachable!(),
        }
    }
    (all, lacking)
}

#[test]
fn whoever_keeps_up_misses_nothing_and_whoever_comes_late_is_told_what() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path());
    let mut keeps_up = tail(dir.path(), 0);
    let all: Vec<u8> = (0..=255).collect();
    for (number, piece) in all.chunks(10).enumerate() {
        log.append(piece);
        assert_eq!(read(&mut keeps_up, &log), (piece.to_vec(), 0));
        let written = number * 10 + piece.len();
        // Wherever somebody goes on, it is with the byte that has that number.
        for at in 0..=written {
            let there = written - at;
            let (bytes, lacking) = read(&mut tail(dir.path(), at as u64), &log);
            let lacking = usize::try_from(lacking).unwrap();
            assert_eq!(lacking + bytes.len(), there, "from {at} of {written}");
            assert_eq!(bytes, all[written - bytes.len()..written]);
            assert!(lacking == 0 || bytes.len() >= 50, "{lacking} of {there} went");
        }
    }
    assert_eq!(keeps_up.at, 256);
}

#[test]
fn a_file_is_read_when_it_is_known_where_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(dir.path());
    log.append(&[b'a'; 90]);
    let before = log.start();
    let mut late = tail(dir.path(), 0);
    log.append(&[b'b'; 20]);
    assert_ne!(log.start(), before);
    // What is known is of the file before.
    assert!(late.more(0, Some(before), false).unwrap().is_none());
    let (bytes, lacking) = read(&mut late, &log);
    assert_eq!((bytes.len() as u64 + lacking, lacking), (110, log.start().offset));
    // Beyond the end nothing is.
    assert_eq!(read(&mut tail(dir.path(), 1000), &log), (Vec::new(), 0));
}
