use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn small(dir: &Path, limit: u64) -> Log {
    Log::bounded(dir.join("log"), limit).unwrap()
}

#[test]
fn the_newest_bytes_are_kept_and_the_others_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = small(dir.path(), 100);
    let all: Vec<u8> = (0..=255).collect();
    for piece in all.chunks(10) {
        log.append(piece);
        let there = fs::read(dir.path().join("log")).unwrap();
        assert!(there.len() <= 100, "{}", there.len());
        let seen = usize::from(*piece.last().unwrap()) + 1;
        assert_eq!(there, all[seen - there.len()..seen], "a gap");
        assert_eq!(log.dropped(), (seen - there.len()) as u64);
        assert!(there.len() >= 50 || log.dropped() == 0, "more went than had to");
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["log"]);
    let mode = fs::metadata(dir.path().join("log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn whoever_reads_keeps_what_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = small(dir.path(), 20);
    log.append(b"0123456789");
    let mut reader = File::open(dir.path().join("log")).unwrap();
    log.append(b"abcdefghijk");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "0123456789");
    assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"0123456789abcdefghijk");
}

#[test]
fn what_cannot_be_written_is_counted() {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log { file: full, ..small(dir.path(), 100) };
    log.append(b"lost");
    assert_eq!((log.dropped(), log.len), (4, 0));
}

#[test]
fn a_link_in_its_place_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), dir.path().join("log")).unwrap();
    assert!(Log::create(dir.path().join("log")).is_err());
    assert!(!dir.path().join("elsewhere").exists());
}
