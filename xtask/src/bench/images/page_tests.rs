use super::*;
use crate::bench::rows::{Row, Timings};
use std::time::Duration;

fn measured(rows: &[(&str, u64)]) -> Measured {
    let row = |(name, ms): &(&str, u64)| Row {
        name: (*name).to_owned(),
        samples: vec![Duration::from_millis(*ms); 3],
        failures: 0,
    };
    let timings = Timings { rows: rows.iter().map(row).collect(), missing: Vec::new() };
    Measured { timings, peak: Ok(62_500) }
}

fn verdicts(measured: &Measured) -> Vec<(&'static str, &'static str)> {
    numbers(Half::Root, measured).iter().map(|number| (number.what, number.verdict())).collect()
}

#[test]
fn promises_are_judged() {
    let (ours, theirs) = (pull::ours("three"), pull::theirs("three"));
    let met = measured(&[
        (&ours, 120),
        (&theirs, 100),
        (cached::HOST_ROW, 10),
        (cached::BUSYBOX_ROW, 16),
        (detection::EMPTY, 4),
        (detection::FLAT, 10),
        (detection::DEEP, 9),
        (records::MANY, 31),
    ]);
    assert_eq!(
        verdicts(&met),
        [
            ("pull, three layers / skopeo copy + tar x", "met"),
            ("pull, one layer / skopeo copy + tar x", "not measured"),
            ("peak memory of a pull", "met"),
            ("run, busybox / host", "missed"),
            ("run, 200 MB in three layers / host", "not measured"),
            ("sandbox list, 1,000 records", "missed"),
            ("detection above 100,000 files, more than beside none", "met"),
            ("detection beside 60,000 files, more than beside none", "aim missed"),
        ]
    );
}

#[test]
fn a_row_with_failures_gives_no_number() {
    let mut measured = measured(&[(records::MANY, 3)]);
    measured.timings.rows[0].failures = 1;
    let all = numbers(Half::User, &measured);
    let number = all.iter().find(|number| number.what.starts_with("sandbox list")).unwrap();
    assert_eq!(number.value, Err(format!("{}: 1 of 4 failed", records::MANY)));
}
