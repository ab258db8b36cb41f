//! `agentkernel audit`.

use crate::context::Context;
use agentkernel_engine::{
    audit::{AuditEntry, AuditQuery},
    connections::Verified,
};
use agentkernel_model::{Result, name::SandboxName, text::printable};
use clap::{Args, Subcommand};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  agentkernel audit
  agentkernel audit -s my-project -l 100
  agentkernel audit --json | jq 'select(.type == \"command_executed\") | .command'
  tail -f \"$(agentkernel audit --path)\"
  agentkernel audit verify                  whether the logs of connections are whole

It holds what was created, started, stopped, removed, run, copied and refused; never the value of an environment
variable. Arguments of commands are in it: pass secrets through stdin or the environment. Each destination that was blocked is in it once; 'agentkernel
policy log' has all connections. AGENTKERNEL_AUDIT=0 turns it off.";

/// Characters of a line's details; all of them are in the JSON.
const DETAILS: usize = 120;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// Only what happened to this sandbox
    #[arg(short, long, value_name = "NAME")]
    sandbox: Option<SandboxName>,

    /// The newest so many events
    #[arg(short, long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,

    /// Only print where the log is
    #[arg(long)]
    path: bool,

    /// Answer with one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// See whether lines of the logs of connections were changed or taken out
    Verify(Verify),
}

const VERIFY: &str = "\
Examples:
  agentkernel audit verify
  agentkernel audit verify --sandbox my-project

Every line has the SHA-256 of the one before it, and the log of events knows the last line of each sandbox that has ended. Who
may write both can write them anew: that is only seen by who noted the last hash, which this prints. The exit code is 1 when
a line is broken or missing.";

#[derive(Debug, Args)]
#[command(after_help = VERIFY)]
struct Verify {
    /// Only the log of this sandbox
    #[arg(short, long, value_name = "NAME")]
    sandbox: Option<SandboxName>,

    /// Answer with one JSON array
    #[arg(long)]
    json: bool,
}

impl Verify {
    fn execute(self, context: &Context) -> Result<u8> {
        let found = context.engine().verify_connections(self.sandbox.as_ref())?;
        let whole = found.iter().all(|log| log.broken.is_none());
        if self.json {
            context.printer.json(&found)?;
        } else {
            let lines: Vec<String> = found.iter().filter_map(verified).collect();
            context.printer.text(match lines.is_empty() {
                true => "no connections were written down".to_owned(),
                false => lines.join("\n"),
            })?;
        }
        Ok(if whole { 0 } else { 1 })
    }
}

/// A line about one log; `None` when there is none.
fn verified(log: &Verified) -> Option<String> {
    let path = |path: &std::path::Path| printable(&path.to_string_lossy());
    if let Some(broken) = &log.broken {
        return Some(format!("{}:{}: broken: {}", path(&broken.path), broken.line, broken.what));
    }
    let last = log.last.as_ref()?;
    let rotated = if log.rotated { ", older ones were dropped when it was full" } else { "" };
    let parts = match log.parts {
        0 => String::new(),
        parts => format!(", beside {parts} beginnings of lines that a full disk did not take"),
    };
    Some(format!("{}: {} lines are whole{rotated}{parts}; the last is {last}", path(&log.path), log.lines))
}

const HEAD: [&str; 4] = ["TIMESTAMP", "EVENT", "SANDBOX", "DETAILS"];

impl Audit {
    pub(super) const fn json(&self) -> bool {
        match &self.verb {
            Some(Verb::Verify(verify)) => verify.json,
            None => self.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        if let Some(Verb::Verify(verify)) = self.verb {
            return verify.execute(context);
        }
        if self.path {
            context.printer.text(engine.events_path().display())?;
            return Ok(0);
        }
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let page = engine.events(&AuditQuery { sandbox: self.sandbox, limit })?;
        if page.broken > 0 {
            context.printer.note(format_args!("skipped {} broken lines of the log", page.broken));
        }
        if page.entries.is_empty() {
            // stdout stays empty: a script that counts lines counts none.
            if !self.json {
                context.printer.note("no events found; 'agentkernel audit --path' says where they would be");
            }
            return Ok(0);
        }
        if self.json {
            let lines: Vec<&str> = page.entries.iter().map(AuditEntry::as_json).collect();
            context.printer.text(lines.join("\n"))?;
        } else {
            let rows: Vec<Vec<String>> = page.entries.iter().map(row).collect();
            context.printer.table(&HEAD, &rows)?;
        }
        Ok(0)
    }
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let shown = |text: &str| printable(text);
    vec![
        shown(entry.timestamp()),
        shown(entry.event()),
        shown(entry.sandbox().unwrap_or("-")),
        shortened(shown(&details(entry))),
    ]
}

/// What has no column of its own.
fn details(entry: &AuditEntry) -> String {
    let fields = entry.fields();
    if let Some(Value::Array(words)) = fields.get("command") {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        let end = fields.get("exit_code").and_then(Value::as_u64);
        let end = end.map_or_else(|| "not waited for".to_owned(), |code| format!("exit {code}"));
        let took = fields.get("duration_ms").and_then(Value::as_u64).unwrap_or_default();
        return format!("{end}, {took} ms: {}", words.join(" "));
    }
    let told = ["timestamp", "type", "pid", "user", "sandbox", "name"];
    let rest = fields.iter().filter(|(key, _)| !told.contains(&key.as_str()));
    rest.map(|(key, value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    })
    .collect::<Vec<_>>()
    .join(" ")
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(DETAILS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
