//! `agentkernel secret get`.

use super::missing;
use crate::{context::Context, vaults::VaultArgs};
use agentkernel_model::{Result, secret::SecretName};
use agentkernel_trust::{Vault, find};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel secret get ANTHROPIC_API_KEY
  agentkernel secret get GITHUB_TOKEN --vault keychain | gh auth login --with-token

The value goes to stdout, with a line end after it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Get {
    /// Its name
    name: SecretName,

    #[command(flatten)]
    vault: VaultArgs,
}

impl Get {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let vaults = self.vault.all(context, std::slice::from_ref(&self.name));
        let asked: Vec<&dyn Vault> = vaults.iter().map(AsRef::as_ref).collect();
        let (_, entry) = find(&self.name, &asked)?.ok_or_else(|| missing(&self.name, &vaults))?;
        context.printer.line(entry.value().reveal())
    }
}
