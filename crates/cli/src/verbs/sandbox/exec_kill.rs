//! `agentkernel sandbox exec-kill`.

use super::exec_list;
use crate::context::Context;
use agentkernel_engine::request::DetachedInfo;
use agentkernel_model::{Result, id::DetachedId, name::SandboxName};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox exec-kill my-project 0c2f91ab

It gets SIGTERM, and SIGKILL ten seconds later, together with what it started and what stayed in its process group. Ending
what has ended succeeds.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExecKill {
    /// The sandbox
    name: SandboxName,

    /// The command, as 'sandbox exec-list' shows it
    id: DetachedId,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl ExecKill {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.detached_kill(&self.name, &self.id))?;
        if self.json {
            return context.printer.json(&info);
        }
        context.printer.text(ended(&info))
    }
}

/// That it has ended, and how.
pub(super) fn ended(info: &DetachedInfo) -> String {
    let exit = info.exit_code.map(|code| format!(", exit {code}")).unwrap_or_default();
    format!("{} has ended ({}{exit})", info.id, exec_list::status(info.status))
}
