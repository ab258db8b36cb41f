//! `agentkernel doctor`.

use crate::context::Context;
use agentkernel_engine::request::{Check, CheckStatus};
use agentkernel_model::{Result, text::printable};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel doctor
  agentkernel doctor --json | jq .healthy";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
    /// Whether no check is an error.
    healthy: bool,
}

impl Doctor {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        let checks = context.block_on(engine.doctor())?;
        let healthy = checks.iter().all(|c| c.status != CheckStatus::Error);
        if self.json {
            context.printer.json(&Report { checks, healthy })?;
        } else {
            context.printer.text(lines(&checks))?;
        }
        // What it found is its answer: finding something is no failure of its own.
        Ok(0)
    }
}

/// The column that every status stands in.
const STATUS_COLUMN: usize = 32;

fn lines(checks: &[Check]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut section = "";
    for check in checks {
        if check.section != section {
            section = check.section;
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(capitalized(section));
        }
        let name = printable(&check.name);
        let dots = ".".repeat(STATUS_COLUMN.saturating_sub(name.chars().count()).max(2));
        lines.push(format!("  {name} {dots} {}: {}", word(check.status), printable(&check.message)));
        lines.extend(check.hint.iter().map(|hint| format!("    hint: {}", printable(hint))));
    }
    lines.join("\n")
}

const fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Ok => "ok",
        CheckStatus::Info => "info",
        CheckStatus::Warning => "warning",
        CheckStatus::Error => "error",
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_dots_and_hints() {
        let check = |section, name: &str, status, hint: Option<&str>| Check {
            section,
            name: name.to_owned(),
            status,
            message: "m".to_owned(),
            hint: hint.map(str::to_owned),
        };
        let text = lines(&[
            check("backends", "one", CheckStatus::Ok, None),
            check("storage", "a\u{1b}b", CheckStatus::Warning, Some("do this")),
        ]);
        let expected = "Backends\n  one ............................. ok: m\n\n\
                        Storage\n  a\\u{1b}b ........................ warning: m\n    hint: do this";
        assert_eq!(text, expected);
    }
}
