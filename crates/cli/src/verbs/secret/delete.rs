//! `agentkernel secret delete`.

use super::missing;
use crate::{context::Context, vaults::VaultArgs};
use agentkernel_model::{Result, secret::SecretName};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel secret delete ANTHROPIC_API_KEY
  agentkernel secret delete ANTHROPIC_API_KEY --vault keychain

Without --vault it is deleted from the file vault, or from the keychain where the file vault does not have it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Delete {
    /// Its name
    name: SecretName,

    #[command(flatten)]
    vault: VaultArgs,

    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Deleted<'a> {
    deleted: &'a SecretName,
    vault: &'static str,
}

impl Delete {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let vaults = self.vault.all(context, &[]);
        for vault in &vaults {
            if !vault.delete(&self.name)? {
                continue;
            }
            let kind = vault.kind();
            if self.json {
                return context.printer.json(&Deleted { deleted: &self.name, vault: kind.as_str() });
            }
            return context
                .printer
                .text(format_args!("deleted secret '{}' from the {kind} vault", self.name));
        }
        Err(missing(&self.name, &vaults))
    }
}
