//! `agentkernel sandbox info`.

use crate::{context::Context, render};
use agentkernel_model::{Result, name::SandboxName};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox info my-project
  agentkernel sandbox info my-project --json | jq .spec.policy";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Info {
    /// The sandbox
    name: SandboxName,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Info {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.info(&self.name))?;
        if self.json {
            return context.printer.json(&info);
        }
        context.printer.text(render::lines(&render::sandbox(&info)))
    }
}
