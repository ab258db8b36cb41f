//! The numbers that were promised, and whether they were met.

use super::{Half, HalfResult, rows, stats::Stats};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Only an aim was named.
    Open,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    pub(super) what: &'static str,
    /// `None`: not a matter of who runs it.
    pub(super) half: Option<Half>,
    /// The value, or why there is none.
    pub(super) value: Result<f64, String>,
    pub(super) unit: &'static str,
    pub(super) bound: Bound,
    /// What would be better than good enough.
    pub(super) aim: Option<f64>,
}

impl Number {
    pub(super) fn verdict(&self) -> &'static str {
        let Ok(value) = &self.value else { return "not measured" };
        let met = match self.bound {
            Bound::AtMost(most) => *value <= most,
            Bound::AtLeast(least) => *value >= least,
            Bound::Open => true,
        };
        match self.aim {
            _ if !met => "missed",
            Some(aim) if *value <= aim => "met, and the aim",
            Some(_) if self.bound == Bound::Open => "aim missed",
            _ => "met",
        }
    }

    pub(super) fn target(&self) -> String {
        let unit = self.unit;
        let bound = match self.bound {
            Bound::AtMost(most) => Some(format!("≤ {most}{unit}")),
            Bound::AtLeast(least) => Some(format!("≥ {least}{unit}")),
            Bound::Open => None,
        };
        let aim = self.aim.map(|aim| format!("aim ≤ {aim}{unit}"));
        bound.into_iter().chain(aim).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "what": self.what, "who": self.half.map(Half::as_str), "value": self.value.as_ref().ok(),
            "unit": self.unit.trim(), "target": self.target(), "verdict": self.verdict(),
            "reason": self.value.as_ref().err(),
        })
    }
}

pub(super) fn of_half(half: Half, result: &HalfResult) -> Vec<Number> {
    let stats = |name: &str| -> Result<Stats, String> {
        let row = result.timings.rows.iter().find(|row| row.name == name);
        if let Some(row) = row.filter(|row| row.failures > 0) {
            return Err(format!("{name}: {} of {} failed", row.failures, row.failures + row.samples.len()));
        }
        row.and_then(|row| Stats::of(&row.samples)).ok_or_else(|| {
            let missing = result.timings.missing.iter().find(|(row, _)| row == name);
            missing.map_or_else(|| format!("{name}: not run"), |(_, why)| format!("{name}: {why}"))
        })
    };
    let ratio = |of: &str, to: &str| Ok(stats(of)?.median / stats(to)?.median);
    let tail = |name: &str| stats(name).map(|s| s.p99 / s.median);
    let number = |what, value, unit, bound, aim| Number { what, half: Some(half), value, unit, bound, aim };
    let most = Bound::AtMost;
    let density = result.density.as_ref().map_err(Clone::clone);
    let storm = result.storm.as_ref().map_err(Clone::clone);
    let pipe = result.pipe.as_ref().map_err(Clone::clone);
    vec![
        number("run, no network / bwrap", ratio(rows::RUN_OFF, rows::BWRAP), " ×", most(1.25), Some(1.0)),
        number(
            "network on, more than off",
            stats(rows::RUN_NET).and_then(|on| Ok(on.median - stats(rows::RUN_OFF)?.median)),
            " ms",
            most(3.0),
            None,
        ),
        number("run, no network: p99 / median", tail(rows::RUN_OFF), " ×", most(3.0), None),
        number("run, network: p99 / median", tail(rows::RUN_NET), " ×", most(3.0), None),
        number("--version / fork+exec", ratio(rows::VERSION, rows::SPAWN), " ×", most(2.0), None),
        number("exec / runc exec", ratio(rows::EXEC, rows::RUNC_EXEC), " ×", most(0.2), None),
        number("exec / fork+exec", ratio(rows::EXEC, rows::SPAWN), " ×", Bound::Open, Some(3.0)),
        number("memory of an idle named sandbox", density.clone().map(|d| d.pss_mb), " MB", most(6.0), None),
        number("left after the named sandboxes", density.map(|d| d.left.len() as f64), "", most(0.0), None),
        number("failed runs of the crowd", storm.clone().map(|s| s.failures as f64), "", most(0.0), None),
        number("left after the crowd", storm.map(|s| s.left.len() as f64), "", most(0.0), None),
        number("pipe, sandboxed / plain", pipe.clone().map(|p| p.ratio), " ×", Bound::AtLeast(0.9), None),
        number("memory growth over 1 GB", pipe.map(|p| p.growth_kib as f64), " KiB", most(256.0), None),
    ]
}

pub(super) fn of_build(binary_mb: f64, build_minutes: Result<f64, String>) -> Vec<Number> {
    let number = |what, value, unit, most| Number {
        what,
        half: None,
        value,
        unit,
        bound: Bound::AtMost(most),
        aim: None,
    };
    vec![
        number("size of the binary", Ok(binary_mb), " MB", 30.0),
        number("cold release build", build_minutes, " min", 6.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: Result<f64, String>, bound: Bound, aim: Option<f64>) -> Number {
        Number { what: "x", half: None, value, unit: " ×", bound, aim }
    }

    #[test]
    fn verdicts() {
        let at_most = |value, aim| number(Ok(value), Bound::AtMost(1.25), aim).verdict();
        assert_eq!(at_most(1.25, Some(1.0)), "met");
        assert_eq!(at_most(1.0, Some(1.0)), "met, and the aim");
        assert_eq!(at_most(1.26, Some(1.0)), "missed");
        assert_eq!(number(Ok(3.1), Bound::Open, Some(3.0)).verdict(), "aim missed");
        assert_eq!(number(Ok(3.1), Bound::Open, Some(3.0)).target(), "aim ≤ 3 ×");
        assert_eq!(number(Ok(0.89), Bound::AtLeast(0.9), None).verdict(), "missed");
        assert_eq!(number(Err("no runc".to_owned()), Bound::AtMost(1.0), None).verdict(), "not measured");
        assert_eq!(number(Ok(f64::NAN), Bound::AtMost(1.0), None).verdict(), "missed");
    }

    #[test]
    fn a_row_with_failures_gives_no_number() {
        let row = |name: &str, failures| rows::Row {
            name: name.to_owned(),
            samples: vec![std::time::Duration::from_millis(2); 10],
            failures,
        };
        let timings =
            rows::Timings { rows: vec![row(rows::RUN_OFF, 1), row(rows::BWRAP, 0)], missing: Vec::new() };
        let none = || Err("not run".to_owned());
        let result =
            HalfResult { timings, pipe: none(), density: Err("no".to_owned()), storm: Err("no".to_owned()) };
        let numbers = of_half(Half::Root, &result);
        assert_eq!(numbers[0].value, Err(format!("{}: 1 of 11 failed", rows::RUN_OFF)));
    }
}
