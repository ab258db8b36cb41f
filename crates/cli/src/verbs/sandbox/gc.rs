//! `agentkernel sandbox gc`.

use crate::context::Context;
use agentkernel_engine::request::{Effect, Filter, GcReport, Stopped};
use agentkernel_model::{Error, Result, name::Label, text::printable};
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
            context.printer.json(&report)?;
            return all_removed(&report);
        }
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!("{verb} {}", report.count);
        for name in &report.removed {
            text += &format!("\n  {}", printable(name));
        }
        for orphan in &report.orphans {
            text += &format!("\n  {} (a leftover without a record)", printable(orphan));
        }
        context.printer.text(text)?;
        for skipped in &report.skipped {
            context.printer.note(format_args!("left alone: {skipped}"));
        }
        for failure in &report.failures {
            context.printer.note(format_args!("not removed: {failure}"));
        }
        all_removed(&report)
    }
}

/// What could not be removed is a failure of the whole, told after what was.
fn all_removed(report: &GcReport) -> Result<()> {
    match report.failures.len() {
        0 => Ok(()),
        n => Err(Error::internal(format!("{n} of what should go could not be removed"))
            .with_hint("mend what is said above, and run it again; agentkernel doctor may know more")),
    }
}
