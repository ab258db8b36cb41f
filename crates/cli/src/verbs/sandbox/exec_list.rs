//! `agentkernel sandbox exec-list`.

use crate::context::Context;
use agentkernel_engine::request::{DetachedInfo, DetachedStatus};
use agentkernel_model::{Result, name::SandboxName, text::printable};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel exec -d my-project -- npm run dev
  agentkernel sandbox exec-list my-project
  agentkernel sandbox exec-list my-project --json | jq -r '.[] | select(.status == \"running\") | .id'

The oldest one comes first. Those that have ended are listed until there are 64 in all, also while the sandbox is stopped.";

/// Characters of a command; all of them are in the JSON.
const SHOWN: usize = 80;

const HEAD: [&str; 5] = ["ID", "STATUS", "EXIT", "STARTED", "COMMAND"];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExecList {
    /// The sandbox
    name: SandboxName,

    /// Answer with one JSON array
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl ExecList {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let found = context.engine().detached_list(&self.name)?;
        if self.json {
            return context.printer.json(&found);
        }
        if found.is_empty() {
            // stdout stays empty: a script that counts lines counts none.
            let name = &self.name;
            context.printer.note(format_args!(
                "no detached commands found; begin one with 'agentkernel exec -d {name} -- COMMAND'"
            ));
            return Ok(());
        }
        context.printer.table(&HEAD, &found.iter().map(row).collect::<Vec<_>>())
    }
}

pub(super) const fn status(status: DetachedStatus) -> &'static str {
    match status {
        DetachedStatus::Running => "running",
        DetachedStatus::Completed => "completed",
        DetachedStatus::Failed => "failed",
    }
}

fn row(info: &DetachedInfo) -> Vec<String> {
    let exit = info.exit_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
    let mut command = printable(&info.command.join(" "));
    if let Some((end, _)) = command.char_indices().nth(SHOWN) {
        command.truncate(end);
        command.push('…');
    }
    vec![info.id.to_string(), status(info.status).to_owned(), exit, info.started_at.clone(), command]
}
