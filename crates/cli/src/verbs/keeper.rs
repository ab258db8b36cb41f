//! `agentkernel keeper`: the process that keeps one named sandbox running. Started by the engine, not by people.

use crate::context::Context;
use agentkernel_model::{Result, id::SandboxId};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Keeper {
    #[arg(value_parser = SandboxId::parse)]
    id: SandboxId,
}

impl Keeper {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        context.block_on(engine.keep(self.id)).map(|()| 0)
    }
}
