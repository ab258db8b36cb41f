use super::*;
use crate::audit::log::old;
use std::fs;
use tempfile::{TempDir, tempdir};

struct Files {
    dir: TempDir,
    host: Host,
}

impl Files {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let host = Host {
            data: dir.path().to_owned(),
            exe: "/nowhere".into(),
            uid: 0,
            gid: 0,
            login: "tester".to_owned(),
            surroundings: agentkernel_backend::Surroundings::default(),
        };
        Self { dir, host }
    }

    fn write(&self, older: &str, newer: &[u8]) {
        fs::write(old(&path(&self.host)), older).unwrap();
        fs::write(path(&self.host), newer).unwrap();
    }

    fn read(&self, sandbox: Option<&str>, limit: usize) -> (Vec<String>, usize) {
        let query = AuditQuery { sandbox: sandbox.map(|name| name.parse().unwrap()), limit };
        let page = read(&self.host, &query).unwrap();
        (page.entries.iter().map(|e| e.timestamp().to_owned()).collect(), page.broken)
    }
}

fn event(at: usize, sandbox: &str) -> String {
    format!("{{\"timestamp\":\"t{at}\",\"type\":\"sandbox_started\",\"name\":\"{sandbox}\"}}\n")
}

#[test]
fn the_newest_of_both_files_come_in_the_order_of_time() {
    let files = Files::new();
    assert_eq!(files.read(None, 5), (vec![], 0));
    files.write(&(event(1, "a") + &event(2, "b")), (event(3, "a") + &event(4, "b")).as_bytes());
    assert_eq!(files.read(None, 3).0, ["t2", "t3", "t4"]);
    assert_eq!(files.read(None, 99).0, ["t1", "t2", "t3", "t4"]);
    assert_eq!(files.read(Some("a"), 99).0, ["t1", "t3"]);
    assert_eq!(files.read(Some("a"), 1).0, ["t3"]);
    assert_eq!(files.read(Some("c"), 9).0, [""; 0]);
    assert_eq!(files.read(None, 0).0, [""; 0]);
}

#[test]
fn broken_lines_are_counted_and_hide_no_others() {
    let files = Files::new();
    let mut newer = event(1, "a").into_bytes();
    newer.extend_from_slice(b"no json\n\n\xff\xfe\n[1]\n{\"timestamp\":\"t\"}\n");
    newer.extend(vec![b'x'; 3 * LONGEST]);
    newer.push(b'\n');
    newer.extend(event(2, "a").into_bytes());
    // The end of a line that was never finished.
    newer.extend_from_slice(b"{\"timestamp\":\"t3\",\"ty");
    files.write("", &newer);
    assert_eq!(files.read(None, 9), (vec!["t1".to_owned(), "t2".to_owned()], 6));
    // Only what was read is counted.
    assert_eq!(files.read(None, 1), (vec!["t2".to_owned()], 1));
}

#[test]
fn a_line_that_never_ends_is_not_held_in_memory() {
    let mut tail = Tail::default();
    for _ in 0..100 {
        tail.prepend(&vec![b'x'; LONGEST / 2]);
        assert!(tail.bytes.len() <= LONGEST);
    }
    assert!(tail.too_long);
}

#[test]
fn lines_across_the_pieces_of_reading_are_whole() {
    let files = Files::new();
    let all: String = (0..5000).map(|n| event(n, &"n".repeat(1 + n % 60))).collect();
    assert!(all.len() > 5 * PIECE);
    files.write("", all.as_bytes());
    let expected: Vec<String> = (0..5000).map(|n| format!("t{n}")).collect();
    assert_eq!(files.read(None, usize::MAX), (expected, 0));
    // A file whose length is that of the pieces, and one that ends without a line end.
    let line = event(1, &"n".repeat(10));
    let exact = line.repeat(PIECE * 2 / line.len());
    let padded = format!("{}{exact}", "\n".repeat(PIECE * 2 - exact.len()));
    files.write("", &padded.as_bytes()[..padded.len() - 1]);
    assert_eq!(files.read(None, usize::MAX).0.len(), PIECE * 2 / line.len());
}

#[test]
fn a_file_that_is_moved_away_meanwhile_is_read_once() {
    let files = Files::new();
    fs::write(path(&files.host), event(1, "a")).unwrap();
    fs::hard_link(path(&files.host), old(&path(&files.host))).unwrap();
    assert_eq!(files.read(None, 9).0, ["t1"]);
    drop(files.dir);
}
