//! The numbers that were promised of images, and their tables.

use super::{Measured, Report, cached, detection, pull, records};
use crate::{
    bench::{
        numbers::{Bound, Number},
        report::{write_number, write_rows},
        stats::Stats,
    },
    person::Half,
};
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn numbers(half: Half, measured: &Measured) -> Vec<Number> {
    let median = |row: &str| -> Result<f64, String> { Ok(stats(measured, row)?.median) };
    let ratio = |of: &str, to: &str| -> Result<f64, String> { Ok(median(of)? / median(to)?) };
    let more = |of: &str, than: &str| -> Result<f64, String> { Ok(median(of)? - median(than)?) };
    let pulled = |image: &str| ratio(&pull::ours(image), &pull::theirs(image));
    let number = |what, value, unit, most| Number {
        what,
        half: Some(half),
        value,
        unit,
        bound: Bound::AtMost(most),
        aim: None,
    };
    let peak = measured.peak.clone().map(|kib| kib as f64 * 1024.0 / 1e6);
    // Promised is a tree whose root is like those that people have; this one is the worst case.
    let flat = Number {
        bound: Bound::Open,
        aim: Some(5.0),
        ..number(
            "detection beside 60,000 files, more than beside none",
            more(detection::FLAT, detection::EMPTY),
            " ms",
            5.0,
        )
    };
    vec![
        number("pull, three layers / skopeo copy + tar x", pulled("three"), " ×", 1.2),
        number("pull, one layer / skopeo copy + tar x", pulled("one"), " ×", 1.2),
        number("peak memory of a pull", peak, " MB", 64.0),
        number("run, busybox / host", ratio(cached::BUSYBOX_ROW, cached::HOST_ROW), " ×", 1.5),
        number("run, 200 MB in three layers / host", ratio(cached::LARGE_ROW, cached::HOST_ROW), " ×", 1.5),
        number("sandbox list, 1,000 records", median(records::MANY), " ms", 30.0),
        number(
            "detection above 100,000 files, more than beside none",
            more(detection::DEEP, detection::EMPTY),
            " ms",
            5.0,
        ),
        flat,
    ]
}

fn stats(measured: &Measured, name: &str) -> Result<Stats, String> {
    let row = measured.timings.rows.iter().find(|row| row.name == name);
    match row {
        Some(row) if row.failures > 0 => {
            Err(format!("{name}: {} of {} failed", row.failures, row.failures + row.samples.len()))
        }
        Some(row) => Stats::of(&row.samples).ok_or_else(|| format!("{name}: no samples")),
        None => {
            let missing = measured.timings.missing.iter().find(|(row, _)| row == name);
            Err(missing.map_or_else(|| format!("{name}: not run"), |(_, why)| format!("{name}: {why}")))
        }
    }
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
    for (half, measured) in &report.halves {
        writeln!(out, "\n### Images, as {}\n", half.as_str())?;
        write_rows(&measured.timings, out)?;
    }
    report.notes.iter().try_for_each(|note| writeln!(out, "\n{note}"))
}

pub(super) fn json(report: &Report) -> Value {
    let halves = report.halves.iter().map(|(half, measured)| {
        let rows = measured.timings.rows.iter().map(|row| {
            let s = Stats::of(&row.samples);
            json!({
                "name": row.name, "failures": row.failures, "samples": row.samples.len(),
                "median_ms": s.map(|s| s.median), "p99_ms": s.map(|s| s.p99), "min_ms": s.map(|s| s.min),
            })
        });
        json!({
            "who": half.as_str(), "rows": rows.collect::<Vec<_>>(), "missing": measured.timings.missing,
            "peak_kib": measured.peak.as_ref().ok(),
        })
    });
    json!({
        "setting": report.setting.to_json(),
        "quick": report.quick,
        "numbers": report.numbers.iter().map(Number::to_json).collect::<Vec<_>>(),
        "halves": halves.collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
