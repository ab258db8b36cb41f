//! `agentkernel sandbox list`.

use crate::{context::Context, render};
use agentkernel_engine::request::{Filter, SandboxInfo, Status};
use agentkernel_model::{Result, name::Label, text::printable};
use clap::Args;
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox list
  agentkernel sandbox list --project my-app        my-app, and what starts with my-app-
  agentkernel sandbox list -l team=web --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct List {
    /// Only those of this project: named so, or starting with it and '-'
    #[arg(long, value_name = "NAME")]
    project: Option<String>,

    /// Only those with this label (repeatable; all must be there)
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<Label>,

    /// Answer with one JSON array
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

/// How many are named for one reason.
const NAMED: usize = 5;

const HEAD: [&str; 7] = ["NAME", "STATUS", "BACKEND", "IP", "IMAGE", "PORTS", "LABELS"];

impl List {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let filtered = self.project.is_some() || !self.label.is_empty();
        let filter = Filter { labels: self.label, project: self.project };
        let engine = context.engine();
        let found = context.block_on(engine.list(&filter))?;
        if self.json {
            return context.printer.json(&found);
        }
        if found.is_empty() {
            // stdout stays empty: a script that counts lines counts none.
            context.printer.note(match filtered {
                true => "no sandboxes found; 'agentkernel sandbox list' shows all",
                false => "no sandboxes found; make one with 'agentkernel sandbox create NAME'",
            });
            return Ok(());
        }
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        context.printer.table(&HEAD, &rows)?;
        for note in unknown(&found) {
            context.printer.note(note);
        }
        Ok(())
    }
}

/// Why some cannot be asked: a line for each reason, since one engine is the reason for all of its sandboxes.
fn unknown(found: &[SandboxInfo]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for info in found.iter().filter(|info| info.status == Status::Unknown) {
        by_reason.entry(info.reason.as_deref().unwrap_or_default()).or_default().push(info.name.as_str());
    }
    let line = |(reason, names): (&str, Vec<&str>)| {
        let more = match names.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = names.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        format!("unknown: {names}{more}: {reason}")
    };
    by_reason.into_iter().map(line).collect()
}

fn row(info: &SandboxInfo) -> Vec<String> {
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { printable(&text) };
    let ports: Vec<String> = info.ports.iter().map(ToString::to_string).collect();
    vec![
        info.name.to_string(),
        render::status(info.status).to_owned(),
        info.backend.to_string(),
        dash(info.ip.clone().unwrap_or_default()),
        dash(info.image.clone()),
        dash(ports.join(",")),
        dash(render::labels(info)),
    ]
}
