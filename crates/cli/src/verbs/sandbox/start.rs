//! `agentkernel sandbox start`.

use crate::context::Context;
use agentkernel_model::{Result, name::SandboxName};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox start my-project

Starting what runs succeeds.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Start {
    /// The sandbox
    name: SandboxName,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Start {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.start(&self.name))?;
        if self.json {
            return context.printer.json(&info);
        }
        let mut text = format!("'{}' is running", info.name);
        for port in &info.ports {
            text += &format!("\n  127.0.0.1:{} leads to its port {}", port.host, port.guest);
        }
        context.printer.text(text)
    }
}
