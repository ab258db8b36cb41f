//! `agentkernel policy log`.

use crate::{context::Context, render};
use agentkernel_engine::{
    audit::{AuditEntry, AuditPage},
    connections::ConnectionQuery,
};
use agentkernel_model::{Result, name::SandboxName, text::printable};
use clap::{Args, Subcommand};
use serde_json::Value;

const VERBS: &str = "\
Examples:
  agentkernel policy log my-project
  agentkernel policy log my-project --follow --blocked";

#[derive(Debug, Subcommand)]
#[command(after_help = VERBS)]
pub(crate) enum Verb {
    /// Show what a sandbox did outside: connections, requests, names, and what was blocked
    Log(Log),
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        let Self::Log(log) = self;
        log.json
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let Self::Log(log) = self;
        log.execute(context).map(|()| 0)
    }
}

const EXAMPLES: &str = "\
Examples:
  agentkernel policy log my-project
  agentkernel policy log my-project --blocked
  agentkernel policy log my-project --follow
  agentkernel policy log my-project --json | jq -r 'select(.verdict == \"blocked\") | .name'
  agentkernel policy log                                of 'run' and of warm sandboxes, by their uuid

The log of a named sandbox goes with it. 'agentkernel audit verify' says whether lines were changed or taken out.
AGENTKERNEL_AUDIT=0 turns it off.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// The sandbox; without one, sandboxes that have no name
    name: Option<SandboxName>,

    /// Go on with what comes, until the sandbox ends
    #[arg(short, long)]
    follow: bool,

    /// Only what was blocked
    #[arg(long)]
    blocked: bool,

    /// The newest so many lines
    #[arg(short, long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,

    /// Answer with one JSON object per line
    #[arg(long)]
    json: bool,
}

const HEAD: [&str; 6] = ["TIMESTAMP", "VERDICT", "TARGET", "SENT", "RECEIVED", "DETAILS"];
/// Of a table that grows, nobody knows how wide its columns become.
const WIDTHS: [usize; 5] = [24, 7, 40, 8, 8];

impl Log {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let query = ConnectionQuery { sandbox: self.name.clone(), only_blocked: self.blocked, limit };
        if !self.follow {
            let page = engine.connections(&query)?;
            if page.entries.is_empty() && page.broken == 0 && !self.json {
                context.printer.note("no connections found");
            }
            return self.show(context, &page);
        }
        context.block_on(async {
            let (page, mut following) = engine.follow_connections(&query)?;
            if !self.json {
                context.printer.text(line(&HEAD.map(str::to_owned)))?;
            }
            self.show_lines(context, &page)?;
            while let Some(entries) = following.next().await? {
                self.show_lines(context, &AuditPage { entries, broken: 0 })?;
            }
            Ok(())
        })
    }

    fn show(&self, context: &Context, page: &AuditPage) -> Result<()> {
        if self.json {
            return self.show_lines(context, page);
        }
        tell_broken(context, page);
        if page.entries.is_empty() {
            return Ok(());
        }
        let rows: Vec<Vec<String>> = page.entries.iter().map(|entry| self.row(entry).to_vec()).collect();
        context.printer.table(&HEAD, &rows)
    }

    fn show_lines(&self, context: &Context, page: &AuditPage) -> Result<()> {
        tell_broken(context, page);
        if page.entries.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = match self.json {
            true => page.entries.iter().map(|entry| entry.as_json().to_owned()).collect(),
            false => page.entries.iter().map(|entry| line(&self.row(entry))).collect(),
        };
        context.printer.text(lines.join("\n"))
    }

    fn row(&self, entry: &AuditEntry) -> [String; 6] {
        let bytes =
            |key| entry.fields().get(key).and_then(Value::as_u64).map_or("-".to_owned(), render::bytes);
        let whose = match self.name {
            Some(_) => String::new(),
            None => format!("{} ", entry.text("sandbox").unwrap_or("-")),
        };
        [
            printable(entry.timestamp()),
            printable(entry.text("verdict").unwrap_or("-")),
            printable(&target(entry)),
            bytes("sent"),
            bytes("received"),
            printable(&format!("{whose}{}", details(entry))),
        ]
    }
}

fn tell_broken(context: &Context, page: &AuditPage) {
    if page.broken > 0 {
        context.printer.note(format_args!(
            "skipped {} broken lines of the log; see 'agentkernel audit verify'",
            page.broken
        ));
    }
}

fn line(cells: &[String; 6]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        text += &format!("{cell:<width$}  ");
    }
    text += &cells[5];
    text
}

/// The name that was meant, else the address; and the port.
fn target(entry: &AuditEntry) -> String {
    let port = entry.fields().get("port").and_then(Value::as_u64);
    let host = entry.text("name").or_else(|| entry.text("address")).unwrap_or("-");
    match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// A question about a name, or so many `more`.
fn asked(what: &str, more: Option<u64>) -> String {
    match more {
        Some(more) => format!("{what} {more} more times within a minute"),
        None => what.to_owned(),
    }
}

/// What has no column of its own.
fn details(entry: &AuditEntry) -> String {
    let number = |key| entry.fields().get(key).and_then(Value::as_u64);
    let mut parts: Vec<String> = Vec::new();
    match entry.event() {
        "request" => {
            let request = ["method", "path"].map(|key| entry.text(key).unwrap_or_default()).join(" ");
            let status = number("status").map(|status| format!(" {status}")).unwrap_or_default();
            parts.push(format!("{}{status}", request.trim_end()));
        }
        "name" => parts.push(asked("name asked about outside", number("more"))),
        "refused_name" => parts.push(asked("name asked for", number("more"))),
        "lost" => parts.push(format!("{} lines were not written", number("lost").unwrap_or_default())),
        _ => {}
    }
    if let (Some(_), Some(address)) = (entry.text("name"), entry.text("address")) {
        parts.push(format!("at {address}"));
    }
    // The sentence of a refusal names the rule.
    let told = |rule: &&str| entry.text("reason").is_some_and(|reason| reason.contains(*rule));
    parts.extend(entry.text("rule").filter(|rule| !told(rule)).map(|rule| format!("rule '{rule}'")));
    parts.extend(entry.text("reason").map(str::to_owned));
    if let Some(Value::Array(names)) = entry.fields().get("secrets") {
        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        parts.push(format!("with {}", names.join(" ")));
    }
    parts.extend(number("duration_ms").map(|ms| format!("{ms} ms")));
    parts.join(", ")
}
