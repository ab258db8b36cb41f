use super::*;
use std::cell::Cell;

const ROUNDS: Rounds = Rounds { timed: 3, warm_up: 2 };

fn log() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    (dir, log)
}

#[test]
fn each_subject_has_a_sample_of_each_round_and_is_prepared_for_it() {
    let (_dir, log) = log();
    let prepared = Cell::new(0);
    let one = Subject::of_words("one", vec!["true".to_owned()]).prepared_by(|| {
        prepared.set(prepared.get() + 1);
        Ok(())
    });
    let timings = interleave(vec![one, Subject::of_words("two", vec!["true".to_owned()])], ROUNDS, &log);
    let counts: Vec<_> = timings.rows.iter().map(|row| (row.name.as_str(), row.samples.len())).collect();
    assert_eq!(counts, [("one", 3), ("two", 3)]);
    // Once to try it, then each time.
    assert_eq!(prepared.get(), 6);
}

#[test]
fn what_cannot_run_is_missing_with_its_reason() {
    let (_dir, log) = log();
    let broken =
        Subject::of_words("broken", vec!["true".to_owned()]).prepared_by(|| Err("no disk".to_owned()));
    let failing = Subject::new("failing", || Command::new("false"));
    let timings = interleave(vec![broken, failing], ROUNDS, &log);
    assert!(timings.rows.is_empty());
    let said: Vec<_> = timings.missing.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert_eq!(said, ["broken: no disk", "failing: exit status: 1: it said nothing"]);
}

#[test]
fn a_failure_later_is_counted() {
    let (_dir, log) = log();
    let times = Cell::new(0);
    let subject = Subject::new("late", || {
        times.set(times.get() + 1);
        Command::new(if times.get() > 4 { "false" } else { "true" })
    });
    let timings = interleave(vec![subject], ROUNDS, &log);
    assert_eq!((timings.rows[0].samples.len(), timings.rows[0].failures), (1, 2));
}
