//! The numbers that were promised of a server, and their table.

use super::{
    Half, Report,
    work::{self, Endurance, Throughput},
};
use crate::bench::{
    numbers::{Bound, Number},
    report::{write_number, write_rows},
    rows::Row,
    stats::Stats,
};
use std::fmt::Write;

pub(super) fn numbers(half: Half, report: &Report) -> Vec<Number> {
    let number = |what, value, unit, bound| Number { what, half: Some(half), value, unit, bound, aim: None };
    let ratio = |of: &str, to: &str| Ok(median(&report.rows, of)? / median(&report.rows, to)?);
    let throughput = report.throughput.clone();
    let endurance = report.endurance.clone();
    let most = Bound::AtMost;
    vec![
        number("POST /run / agentkernel run", ratio(work::RUN, work::CLI_RUN), " ×", most(1.2)),
        number(
            "16 callers, POST /run / bwrap from xargs",
            throughput.clone().map(|t| t.server / t.bwrap),
            " ×",
            Bound::AtLeast(0.5),
        ),
        number("failed runs of 16 callers", throughput.map(|t| t.failures as f64), "", most(0.0)),
        number("exec, API / command line", ratio(work::EXEC, work::CLI_EXEC), " ×", most(1.0)),
        number("first streamed byte", median(&report.rows, work::FIRST_BYTE), " ms", most(5.0)),
        number("memory with idle clients", report.idle.clone(), " MB", most(100.0)),
        number("failed of mixed requests", endurance.clone().map(|e| e.failures as f64), "", most(0.0)),
        number("descriptors left", endurance.clone().map(|e| e.descriptors as f64), "", most(0.0)),
        number("memory growth, second half", endurance.map(|e| e.end - e.middle), " MB", most(1.0)),
    ]
}

fn median(rows: &[Row], name: &str) -> Result<f64, String> {
    match rows.iter().find(|row| row.name == name) {
        Some(row) if row.failures > 0 => {
            Err(format!("{name}: {} of {} failed", row.failures, row.failures + row.samples.len()))
        }
        row => {
            let stats = row.and_then(|row| Stats::of(&row.samples));
            stats.map(|stats| stats.median).ok_or_else(|| format!("{name}: no samples"))
        }
    }
}

pub(super) fn markdown(numbers: &[Number], report: &Report) -> String {
    let mut out = String::new();
    write(numbers, report, &mut out).map_or_else(|_| String::new(), |()| out)
}

fn write(numbers: &[Number], report: &Report, out: &mut String) -> std::fmt::Result {
    report.setting.write(out)?;
    if report.quick {
        writeln!(out, "- quick: too few samples; not a measurement to keep")?;
    }
    writeln!(out, "\n| number | who | measured | promised | |\n|---|---|---|---|---|")?;
    numbers.iter().try_for_each(|number| write_number(number, out))?;
    writeln!(out, "\n### A server\n")?;
    let timings = crate::bench::rows::Timings { rows: report.rows.clone(), missing: Vec::new() };
    write_rows(&timings, out)?;
    writeln!(out)?;
    if let Ok(Throughput { server, bwrap, .. }) = report.throughput {
        let (runs, callers) = (report.amount.runs, super::CALLERS);
        writeln!(
            out,
            "- {runs} runs from {callers} callers: {server:.0} a second, bwrap from xargs {bwrap:.0}"
        )?;
    }
    if let Ok(memory) = report.idle {
        writeln!(out, "- {} clients that wait for events: {memory:.1} MB", report.amount.clients)?;
    }
    if let Ok(Endurance { requests, per_second, middle, end, .. }) = report.endurance {
        writeln!(
            out,
            "- {requests} mixed requests, 1 in 100 a run and 4 an exec: {per_second:.0} a second, {middle:.1} MB half way, \
             {end:.1} MB at the end"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_row_with_failures_has_no_median() {
        let row = |name: &str, failures| Row {
            name: name.to_owned(),
            samples: vec![Duration::from_millis(3)],
            failures,
        };
        let rows = [row("a", 0), row("b", 1)];
        assert_eq!(median(&rows, "a"), Ok(3.0));
        assert_eq!(median(&rows, "b"), Err("b: 1 of 2 failed".to_owned()));
        assert!(median(&rows, "c").is_err());
    }
}
