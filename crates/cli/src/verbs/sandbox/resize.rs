//! `agentkernel sandbox resize`.

use crate::{args, context::Context, render};
use agentkernel_engine::request::Resize as Wanted;
use agentkernel_model::{
    Result,
    name::SandboxName,
    size::{ByteSize, Cpus},
};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox resize my-project --memory 2GB
  agentkernel sandbox resize my-project --cpus 0.5

The new limits hold at once where it runs, and from each later start. Less memory than it holds is refused. Backends that
cannot change the limits of a sandbox that exists say so.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Resize {
    /// The sandbox
    name: SandboxName,

    /// The most memory the sandbox may use, such as 512MB or 2GB
    #[arg(long, value_name = "SIZE", value_parser = args::memory, required_unless_present = "cpus")]
    memory: Option<ByteSize>,

    /// The most processor time it may use, in processors, such as 0.5 or 2
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Cpus>,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Resize {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let wanted = Wanted { memory: self.memory, cpus: self.cpus };
        let info = context.block_on(engine.resize(&self.name, &wanted))?;
        if self.json {
            return context.printer.json(&info);
        }
        let limits = info.spec.as_ref().map(|spec| &spec.policy.limits);
        let memory = render::limit(limits.and_then(|limits| limits.memory));
        let cpus = render::limit(limits.and_then(|limits| limits.cpus));
        context.printer.text(format_args!("'{}' may use memory {memory} and processors {cpus}", info.name))
    }
}
