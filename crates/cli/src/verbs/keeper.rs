//! `agentkernel keeper`: the process that keeps one named sandbox running. Started by the engine, not by people.

use crate::{context, env};
use agentkernel_model::{Result, id::SandboxId};
use agentkernel_trace::Context;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Keeper {
    #[arg(value_parser = SandboxId::parse)]
    id: SandboxId,
}

impl Keeper {
    pub(super) fn execute(self, context: &context::Context) -> Result<u8> {
        let engine = context.engine();
        // Whoever starts a keeper says what its start is a part of.
        let asked = env::traced().as_deref().and_then(Context::parse);
        context.block_on(engine.keep(self.id, asked)).map(|()| 0)
    }
}
