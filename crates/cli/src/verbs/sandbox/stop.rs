//! `agentkernel sandbox stop`.

use crate::context::Context;
use agentkernel_model::{Result, name::SandboxName, size::parse_duration};
use clap::Args;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox stop my-project
  agentkernel sandbox stop my-project --grace 0

Its files stay, and 'start' brings it up again. Stopping what is stopped succeeds.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stop {
    /// The sandbox
    name: SandboxName,

    /// How long its processes have between SIGTERM and SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    grace: Duration,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Stop {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.stop(&self.name, self.grace))?;
        if self.json {
            return context.printer.json(&info);
        }
        context.printer.text(format_args!("'{}' is stopped", info.name))
    }
}
