//! `agentkernel sandbox extend-ttl`.

use crate::context::Context;
use agentkernel_model::{Result, name::SandboxName, size::parse_duration};
use clap::Args;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox extend-ttl my-project
  agentkernel sandbox extend-ttl my-project --by 8h

Counted from the end that it had, or from now when that is over. A sandbox that has expired can be started again then,
until 'gc' has removed it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExtendTtl {
    /// The sandbox
    name: SandboxName,

    /// How much longer it is there, such as 30m, 8h or 3d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    by: Duration,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl ExtendTtl {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.extend(&self.name, self.by))?;
        if self.json {
            return context.printer.json(&info);
        }
        let until = info.expires_at.as_deref().unwrap_or("never");
        context.printer.text(format_args!("'{}' expires {until}", info.name))
    }
}
