//! `agentkernel sandbox gc`.

use crate::context::Context;
use agentkernel_engine::request::{Effect, Filter, Stopped};
use agentkernel_model::{Result, name::Label, text::printable};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox gc --dry-run
  agentkernel sandbox gc
  agentkernel sandbox gc --stopped -l team=web

Stopped sandboxes are kept on purpose: only --stopped removes them.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Gc {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Also remove stopped sandboxes and their files
    #[arg(long)]
    stopped: bool,

    /// Only those with this label (repeatable; all must be there)
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<Label>,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Gc {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let filter = Filter { labels: self.label, project: None };
        let stopped = if self.stopped { Stopped::Remove } else { Stopped::Keep };
        let effect = if self.dry_run { Effect::DryRun } else { Effect::Apply };
        let engine = context.engine();
        let report = context.block_on(engine.gc(&filter, stopped, effect))?;
        if self.json {
            return context.printer.json(&report);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!("{verb} {}", report.count);
        for name in &report.removed {
            text += &format!("\n  {}", printable(name));
        }
        for orphan in &report.orphans {
            text += &format!("\n  {} (a leftover without a record)", printable(orphan));
        }
        context.printer.text(text)
    }
}
