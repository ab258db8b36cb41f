//! The numbers that were promised of engines, and their tables.

use super::{
    Report,
    engine::{Engine, Sort},
    turns,
};
use crate::bench::{
    numbers::{Bound, Number},
    report::{write_number, write_rows},
    rows::{Row, Timings},
    stats::Stats,
};
use std::{fmt::Write, time::Duration};

pub(super) const LIST: &str = "agentkernel sandbox list, 100 records";

/// What the numbers of an engine are called.
const fn names(sort: Sort) -> [&'static str; 4] {
    match sort {
        Sort::Docker => [
            "run / docker run",
            "exec / docker exec",
            "run with a warm sandbox / exec, Docker",
            "30 runs back to back, daemon / none, Docker",
        ],
        Sort::Podman => [
            "run / podman run",
            "exec / podman exec",
            "run with a warm sandbox / exec, Podman",
            "30 runs back to back, daemon / none, Podman",
        ],
    }
}

pub(super) fn of_engine(engine: &Engine, timings: &Timings) -> Vec<Number> {
    let ratio = |of: &str, to: &str| Ok(median(timings, of)? / median(timings, to)?);
    let number = |what, value, most, aim| Number {
        what,
        half: None,
        value,
        unit: " ×",
        bound: Bound::AtMost(most),
        aim,
    };
    let [run, exec, pooled, storm] = names(engine.sort);
    let storms = mean(timings, turns::STORM).and_then(|ours| Ok(ours / mean(timings, turns::COLD_STORM)?));
    vec![
        number(run, ratio(turns::RUN, &turns::their_run(engine)), 0.9, None),
        number(exec, ratio(turns::EXEC, &turns::their_exec(engine)), 0.7, Some(0.5)),
        number(pooled, ratio(turns::POOLED, turns::EXEC), 1.2, None),
        number(storm, storms, 1.0, None),
    ]
}

pub(super) fn of_records(timings: &Timings) -> Number {
    let value = median(timings, LIST);
    let what = "sandbox list, 100 records on three backends";
    Number { what, half: None, value, unit: " ms", bound: Bound::AtMost(100.0), aim: None }
}

fn row<'a>(timings: &'a Timings, name: &str) -> Result<&'a Row, String> {
    match timings.rows.iter().find(|row| row.name == name) {
        Some(row) if row.failures > 0 => {
            Err(format!("{name}: {} of {} failed", row.failures, row.failures + row.samples.len()))
        }
        Some(row) => Ok(row),
        None => {
            let missing = timings.missing.iter().find(|(row, _)| row == name);
            Err(missing.map_or_else(|| format!("{name}: not run"), |(_, why)| format!("{name}: {why}")))
        }
    }
}

fn median(timings: &Timings, name: &str) -> Result<f64, String> {
    Stats::of(&row(timings, name)?.samples).map(|s| s.median).ok_or_else(|| format!("{name}: no samples"))
}

/// Of many that follow each other, what all of them took counts.
fn mean(timings: &Timings, name: &str) -> Result<f64, String> {
    let samples = &row(timings, name)?.samples;
    if samples.is_empty() {
        return Err(format!("{name}: no samples"));
    }
    Ok(samples.iter().sum::<Duration>().as_secs_f64() * 1e3 / samples.len() as f64)
}

pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    write(report, &mut out).map_or_else(|_| String::new(), |()| out)
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    report.setting.write(out)?;
    if report.quick {
        writeln!(out, "- quick: too few samples; not a measurement to keep")?;
    }
    writeln!(out, "\n| number | who | measured | promised | |\n|---|---|---|---|---|")?;
    report.numbers.iter().try_for_each(|number| write_number(number, out))?;
    for (what, timings) in &report.tables {
        writeln!(out, "\n### Engines: {what}\n")?;
        write_rows(timings, out)?;
        if let (Ok(cold), Ok(warm)) = (mean(timings, turns::COLD_STORM), mean(timings, turns::STORM)) {
            let count = row(timings, turns::STORM).map_or(0, |row| row.samples.len());
            writeln!(
                out,
                "\n- back to back, mean of {count}: {cold:.2} ms each without the daemon, {warm:.2} with it"
            )?;
            let slowest = |name| row(timings, name).ok().and_then(|row| row.samples.iter().max().copied());
            if let (Some(cold), Some(warm)) = (slowest(turns::COLD_STORM), slowest(turns::STORM)) {
                let [cold, warm] = [cold, warm].map(|time| time.as_secs_f64() * 1e3);
                writeln!(out, "- the slowest of them: {cold:.2} ms without, {warm:.2} with it")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(rows: &[(&str, &[u64], usize)]) -> Timings {
        let row = |(name, ms, failures): &(&str, &[u64], usize)| Row {
            name: (*name).to_owned(),
            samples: ms.iter().map(|ms| Duration::from_millis(*ms)).collect(),
            failures: *failures,
        };
        Timings { rows: rows.iter().map(row).collect(), missing: vec![("gone".to_owned(), "why".to_owned())] }
    }

    #[test]
    fn a_mean_counts_the_slow_ones_and_a_failure_gives_none() {
        let timings = timings(&[("a", &[10, 10, 100], 0), ("b", &[1], 1), ("c", &[], 0)]);
        assert_eq!((mean(&timings, "a"), median(&timings, "a")), (Ok(40.0), Ok(10.0)));
        assert_eq!(mean(&timings, "b"), Err("b: 1 of 2 failed".to_owned()));
        assert_eq!(mean(&timings, "gone"), Err("gone: why".to_owned()));
        assert!(mean(&timings, "c").is_err() && median(&timings, "d").is_err());
    }
}
