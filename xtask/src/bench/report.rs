//! The tables: for people in docs/benchmarks.md, for programs as JSON.

use super::{Half, HalfResult, Report, numbers::Number, rows, stats::Stats};
use crate::{Outcome, cargo::cargo, workspace::Workspace};
use serde_json::{Value, json};
use std::{fmt::Write, fs, process::Command};

/// A part of docs/benchmarks.md that a benchmark writes: what stands between these two lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) begin: &'static str,
    pub(super) end: &'static str,
}

pub(super) const PROCESSES: Part =
    Part { begin: "<!-- bench:begin, written by cargo xtask bench -->", end: "<!-- bench:end -->" };
pub(super) const ENGINES: Part = Part {
    begin: "<!-- engines:begin, written by cargo xtask bench engines -->",
    end: "<!-- engines:end -->",
};
pub(super) const EGRESS: Part =
    Part { begin: "<!-- egress:begin, written by cargo xtask bench egress -->", end: "<!-- egress:end -->" };
pub(super) const SERVER: Part =
    Part { begin: "<!-- server:begin, written by cargo xtask bench server -->", end: "<!-- server:end -->" };
pub(super) const IMAGES: Part =
    Part { begin: "<!-- images:begin, written by cargo xtask bench images -->", end: "<!-- images:end -->" };

/// Where and when.
#[derive(Debug, Clone)]
pub(super) struct Setting(Vec<(&'static str, String)>);

impl Setting {
    pub(super) fn read() -> Self {
        let said = |program: &str, words: &[&str]| -> Option<String> {
            let output = Command::new(program).args(words).output().ok().filter(|o| o.status.success())?;
            String::from_utf8(output.stdout).ok()?.lines().next().map(|line| line.trim().to_owned())
        };
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, v)| v.trim().to_owned()));
            line.unwrap_or_else(|| "unknown".to_owned())
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let uname = rustix::system::uname();
        let commit = said("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "none".to_owned());
        let dirty = said("git", &["status", "--porcelain"]).is_some_and(|line| !line.is_empty());
        let unknown = || "not installed".to_owned();
        Self(vec![
            ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown)),
            ("commit", format!("{commit}{}", if dirty { " with changes" } else { "" })),
            (
                "machine",
                format!(
                    "{}, {cores} cores, {} of memory",
                    field("/proc/cpuinfo", "model name"),
                    field("/proc/meminfo", "MemTotal")
                ),
            ),
            (
                "kernel",
                format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy()),
            ),
            ("bwrap", said("bwrap", &["--version"]).unwrap_or_else(unknown)),
            ("runc", said("runc", &["--version"]).unwrap_or_else(unknown)),
            ("skopeo", said("skopeo", &["--version"]).unwrap_or_else(unknown)),
            ("rustc", said("rustc", &["--version"]).unwrap_or_else(unknown)),
        ])
    }

    pub(super) fn add(&mut self, name: &'static str, value: String) {
        self.0.push((name, value));
    }

    pub(super) fn write(&self, out: &mut String) -> std::fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(out, "- {name}: {value}"))
    }

    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.0.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect())
    }
}

pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    write_markdown(report, &mut out).map_or_else(|_| String::new(), |()| out)
}

fn write_markdown(report: &Report, out: &mut String) -> std::fmt::Result {
    report.setting.write(out)?;
    if report.quick {
        writeln!(out, "- quick: too few samples for a p99; not a measurement to keep")?;
    }
    writeln!(out, "\n| number | who | measured | promised | |\n|---|---|---|---|---|")?;
    for number in &report.numbers {
        write_number(number, out)?;
    }
    for (half, result) in &report.halves {
        write_half(*half, result, out)?;
    }
    for note in &report.notes {
        writeln!(out, "\n{note}")?;
    }
    Ok(())
}

pub(super) fn write_number(number: &Number, out: &mut String) -> std::fmt::Result {
    let who = number.half.map_or("", Half::as_str);
    let value = match &number.value {
        Ok(value) => format!("{value:.2}{}", number.unit),
        Err(why) => cell(why),
    };
    writeln!(out, "| {} | {who} | {value} | {} | {} |", number.what, number.target(), number.verdict())
}

fn write_half(half: Half, result: &HalfResult, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n### As {}\n", half.as_str())?;
    write_rows(&result.timings, out)?;
    writeln!(out)?;
    if let Ok(pipe) = &result.pipe {
        writeln!(
            out,
            "- 1 GB through a pipe: {:.2} GB/s sandboxed, {:.2} GB/s plain",
            pipe.sandboxed, pipe.plain
        )?;
    }
    if let Ok(d) = &result.density {
        writeln!(
            out,
            "- {} named sandboxes: {} processes, {:.2} MB each, all up after {:.1} s",
            d.count, d.processes, d.pss_mb, d.seconds
        )?;
        write_left(&d.left, out)?;
    }
    if let Ok(s) = &result.storm {
        writeln!(
            out,
            "- {} runs from {} callers: {} failed, {:.0} a second",
            s.runs, s.callers, s.failures, s.per_second
        )?;
        if let Some(why) = &s.first_failure {
            writeln!(out, "  - the first failure: {}", cell(why))?;
        }
        write_left(&s.left, out)?;
    }
    Ok(())
}

pub(super) fn write_rows(timings: &rows::Timings, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "| whole process | samples | median ms | p99 ms | min ms | × fork+exec |\n|---|---|---|---|---|---|"
    )?;
    let spawn = timings.rows.iter().find(|row| row.name == rows::SPAWN).and_then(|r| Stats::of(&r.samples));
    for row in &timings.rows {
        let Some(s) = Stats::of(&row.samples) else {
            writeln!(out, "| `{}` | 0, {} failed | | | | |", row.name, row.failures)?;
            continue;
        };
        let failed = if row.failures > 0 { format!(", {} failed", row.failures) } else { String::new() };
        let ratio = spawn.map_or(String::new(), |spawn| format!("{:.2}", s.median / spawn.median));
        writeln!(
            out,
            "| `{}` | {}{failed} | {:.2} | {:.2} | {:.2} | {ratio} |",
            row.name, s.count, s.median, s.p99, s.min
        )?;
    }
    for (row, why) in &timings.missing {
        writeln!(out, "| `{row}` | not measured: {} | | | | |", cell(why))?;
    }
    Ok(())
}

fn write_left(left: &[String], out: &mut String) -> std::fmt::Result {
    left.iter().take(5).try_for_each(|what| writeln!(out, "  - left behind: {}", cell(what)))
}

/// What programs said may hold anything; a table cell may not.
pub(super) fn cell(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace('|', "\\|")
}

pub(super) fn json(report: &Report) -> Value {
    let halves = report.halves.iter().map(|(half, result)| {
        let rows = result.timings.rows.iter().map(|row| {
            let s = Stats::of(&row.samples);
            json!({
                "name": row.name, "failures": row.failures, "samples": row.samples.len(),
                "median_ms": s.map(|s| s.median), "p99_ms": s.map(|s| s.p99), "min_ms": s.map(|s| s.min),
            })
        });
        json!({
            "who": half.as_str(), "rows": rows.collect::<Vec<_>>(), "missing": result.timings.missing,
            "pipe": result.pipe.as_ref().ok().map(super::pipe::Throughput::to_json),
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

/// Puts `tables` between the markers of `part` in docs/benchmarks.md.
pub(super) fn write_page(workspace: &Workspace, part: Part, tables: &str) -> Outcome<()> {
    let path = workspace.root.join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    fs::write(
        &path,
        splice(&page, part, tables).ok_or_else(|| format!("{} has lost its markers", path.display()))?,
    )?;
    eprintln!("bench: wrote {}", workspace.relative(&path).display());
    Ok(())
}

fn splice(page: &str, part: Part, tables: &str) -> Option<String> {
    let Part { begin, end } = part;
    let (head, rest) = page.split_once(begin)?;
    let (_, tail) = rest.split_once(end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", tables.trim()))
}

/// Minutes of a release build into an empty target directory.
pub(super) fn cold_build(workspace: &Workspace, dir: &std::path::Path) -> Result<f64, String> {
    let target = dir.join("cold-target");
    let started = std::time::Instant::now();
    let status = cargo()
        .args(["build", "--release", "-p", "agentkernel", "--target-dir"])
        .arg(&target)
        .current_dir(&workspace.root)
        .status()
        .map_err(|error| error.to_string())?;
    let minutes = started.elapsed().as_secs_f64() / 60.0;
    if status.success() { Ok(minutes) } else { Err(format!("the build failed: {status}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_replace_tables_and_nothing_else() {
        let Part { begin, end } = IMAGES;
        let page = format!("# Title\n\n{begin}\nold\n{end}\n\ntail\n");
        let new = splice(&page, IMAGES, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n\n{begin}\n\nnew\n\n{end}\n\ntail\n"));
        assert_eq!(splice(&new, IMAGES, "new").unwrap(), new);
        assert_eq!(splice(&page, PROCESSES, "x"), None);
    }

    #[test]
    fn what_a_program_said_stays_in_its_cell() {
        assert_eq!(cell("a|b\n\u{1b}[31mc"), "a\\|b  [31mc");
    }
}
