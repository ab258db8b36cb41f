//! `agentkernel sandbox remove`.

use crate::context::Context;
use agentkernel_model::{Result, name::SandboxName};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox remove my-project

Ends what runs in it and removes its files. A directory that was mounted with --dir or --volume stays.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Remove {
    /// The sandbox
    name: SandboxName,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

#[derive(Debug, Serialize)]
struct Removed<'a> {
    removed: &'a SandboxName,
}

impl Remove {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        context.block_on(engine.remove(&self.name))?;
        if self.json {
            return context.printer.json(&Removed { removed: &self.name });
        }
        context.printer.text(format_args!("removed '{}'", self.name))
    }
}
