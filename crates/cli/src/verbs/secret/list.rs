//! `agentkernel secret list`.

use super::{Row, hosts, set_at};
use crate::{
    context::Context,
    vaults::{VaultArgs, usual_names},
};
use agentkernel_model::Result;
use agentkernel_trust::{Meta, VaultKind};
use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  agentkernel secret list\n  agentkernel secret list --json\n  agentkernel secret list --vault env"
)]
pub(crate) struct List {
    #[command(flatten)]
    vault: VaultArgs,

    /// Answer with one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

impl List {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let mut found: Vec<(VaultKind, Meta)> = Vec::new();
        for vault in self.vault.all(context, &usual_names()) {
            found.extend(vault.list()?.into_iter().map(|meta| (vault.kind(), meta)));
        }
        found.sort_by(|(a_kind, a), (b_kind, b)| (a.name(), a_kind).cmp(&(b.name(), b_kind)));
        if self.json {
            let rows: Vec<Row<'_>> = found.iter().map(|(kind, meta)| Row::new(*kind, meta)).collect();
            return context.printer.json(&rows);
        }
        if found.is_empty() {
            context.printer.note("no secrets found; keep one with 'agentkernel secret set NAME'");
            return Ok(());
        }
        let line = |(kind, meta): &(VaultKind, Meta)| {
            let when = set_at(meta).unwrap_or_else(|| "-".to_owned());
            vec![meta.name().to_string(), kind.to_string(), when, hosts(meta)]
        };
        let lines: Vec<Vec<String>> = found.iter().map(line).collect();
        context.printer.table(&["KEY", "BACKEND", "SET AT", "HOSTS"], &lines)
    }
}
