//! `agentkernel sandbox start`.

use crate::{
    context::Context,
    hidden::Word,
    secrets::{self, Wanted},
    vaults::VaultArgs,
};
use agentkernel_engine::{Engine, request::Status, values::Values};
use agentkernel_model::{Error, Kind, Result, name::SandboxName, secret::Origin};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox start my-project

Starting what runs succeeds. Its secrets are looked up in the vault at each start.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Start {
    /// The sandbox
    name: SandboxName,

    /// Give the value of a secret that was given on the command line before (repeatable)
    #[arg(short = 'S', long, value_name = "KEY=VALUE:HOST")]
    secret: Vec<Word>,

    #[command(flatten)]
    vault: VaultArgs,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Start {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let values = self.values(context, &engine)?;
        let info = context.block_on(engine.start(&self.name, &values))?;
        if self.json {
            return context.printer.json(&info);
        }
        let mut text = format!("'{}' is running", info.name);
        for port in &info.ports {
            text += &format!("\n  127.0.0.1:{} leads to its port {}", port.host, port.guest);
        }
        context.printer.text(text)
    }

    /// Those of the secrets that the sandbox was made with.
    fn values(&self, context: &Context, engine: &Engine) -> Result<Values> {
        let given = secrets::bindings(&self.secret)?;
        secrets::warn(context, &given);
        if let Some(binding) = given.iter().find(|binding| *binding.origin() == Origin::Vault) {
            let name = binding.name();
            return Err(Error::invalid(format!("no value is given for secret '{name}'")).with_hint(format!(
                "{name} is looked up in the vault without this flag; else write {name}=VALUE:HOST"
            )));
        }
        let info = context.block_on(engine.info(&self.name))?;
        if info.status == Status::Running {
            if given.is_empty() {
                return Ok(Values::default());
            }
            let message = format!("'{}' is running, and keeps the secrets that it has", self.name);
            return Err(Error::new(Kind::Conflict, message)
                .with_hint(format!("agentkernel sandbox stop {}", self.name)));
        }
        let wanted = Wanted { bindings: given, ..Wanted::default() };
        secrets::of_existing(context, engine, &info, &wanted, &self.vault)
    }
}
