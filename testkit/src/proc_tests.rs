use super::*;
use std::process::{Command, Stdio};

#[test]
fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
    let line = "42 (a) b (c) S 7 42 40 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 999 1 1";
    let stat = parse_stat(line).unwrap();
    assert_eq!(stat, Stat { pid: 42, parent: 7, session: 40, state: 'S', start_time: 999, cpu_ticks: 7 });
}

#[test]
fn a_short_or_foreign_line_is_no_stat() {
    for line in ["", "42", "42 (sh) S 1", "x (sh) S 7 42 40 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 999"] {
        assert_eq!(parse_stat(line), None, "{line}");
    }
}

#[test]
fn killing_a_session_takes_background_children_along() {
    let mut leader = Command::new("setsid")
        .args(["sh", "-c", "sleep 600 & sleep 600 & echo ready; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    io::Read::read_exact(leader.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let session = i32::try_from(leader.id()).unwrap();
    assert!(of_session(session).unwrap().len() >= 3);
    kill_session(session).unwrap();
    assert_eq!(of_session(session).unwrap(), []);
    leader.wait().unwrap();
}
