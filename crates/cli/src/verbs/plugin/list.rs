//! `agentkernel plugin list`.

use super::{Planned, root, scope};
use crate::{context::Context, place::Links};
use agentkernel_config::plugin::{Scope, State, Status, Target};
use agentkernel_model::Result;
use clap::Args;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel plugin list\n  agentkernel plugin list --global\n  agentkernel plugin list --json"
)]
pub(crate) struct List {
    /// What is installed for all projects, in the home
    #[arg(short, long)]
    global: bool,

    /// Answer with one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    target: Target,
    description: &'static str,
    scope: Scope,
    status: Status,
    files: Vec<&'static str>,
    /// Why a file could not be looked into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl List {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let scope = scope(self.global);
        let root = root(context, scope)?;
        let rows: Vec<Row> = Target::ALL.into_iter().map(|target| row(target, scope, &root)).collect();
        if self.json {
            return context.printer.json(&rows);
        }
        let line = |target: &str, description: &str, status: &str| {
            format!("{target:<12} {description:<35} {status}")
        };
        let mut lines = vec![line("TARGET", "DESCRIPTION", "STATUS")];
        lines.extend(rows.iter().map(|row| line(row.target.as_str(), row.description, row.status.as_str())));
        context.printer.text(lines.join("\n"))?;
        let mut notes: Vec<&String> = rows.iter().flat_map(|row| &row.notes).collect();
        notes.sort();
        notes.dedup();
        context.tell(&notes.into_iter().cloned().collect::<Vec<_>>(), &[]);
        Ok(())
    }
}

/// A file that cannot be looked into is one that somebody wrote.
fn row(target: Target, scope: Scope, root: &Path) -> Row {
    let pieces = target.pieces(scope);
    let mut notes = Vec::new();
    let states: Vec<State> = pieces
        .iter()
        .map(|piece| match Planned::of(piece, root, Links::Anywhere) {
            Ok(planned) => planned.merge.state,
            Err(error) => {
                notes.push(error.to_string());
                State::Different
            }
        })
        .collect();
    let files = pieces.iter().map(|piece| piece.path).collect();
    Row {
        target,
        description: target.description(),
        scope,
        status: Status::of(pieces, &states),
        files,
        notes,
    }
}
