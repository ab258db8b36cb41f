//! `agentkernel sandbox clean`.

use crate::{context::Context, terminal};
use agentkernel_engine::{
    clean::{CleanReport, Live, Stored},
    images::ImageRow,
    request::Effect,
};
use agentkernel_model::{Error, Result, text::printable};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox clean --dry-run
  agentkernel sandbox clean               asks before it removes what is stopped
  agentkernel sandbox clean --all --yes   images as well, without a question
  agentkernel sandbox clean --force       what runs as well, without a question

Only sandboxes of agentkernel and what belongs to them are touched. Volumes stay. Without a terminal to ask on, nothing
is removed unless --yes or --force is given.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Clean {
    /// Also remove images that no sandbox uses, and what was cached while building them
    #[arg(short, long)]
    all: bool,

    /// Also remove sandboxes that run, and do not ask
    #[arg(short, long)]
    force: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

/// What was removed, or would be.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    #[serde(flatten)]
    found: CleanReport,
}

impl Clean {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let live = if self.force { Live::Remove } else { Live::Keep };
        let planned = self.sweep(context, live, Effect::DryRun)?;
        // Copies that backends keep only to be faster are in no plan, and nobody misses them.
        if self.dry_run || (planned.is_empty() && !self.all) {
            return self.tell(context, &planned);
        }
        if !planned.is_empty() && !self.force && !self.yes && !self.agreed(context, &planned)? {
            context.printer.note("nothing was removed");
            return Ok(());
        }
        let done = self.sweep(context, live, Effect::Apply)?;
        self.tell(context, &done)
    }

    fn sweep(&self, context: &Context, live: Live, effect: Effect) -> Result<Report> {
        let stored = if self.all { Stored::Remove } else { Stored::Keep };
        let engine = context.engine();
        let found = context.block_on(engine.clean(live, stored, effect))?;
        Ok(Report { dry_run: self.dry_run, found })
    }

    /// Asks on the terminal.
    fn agreed(&self, context: &Context, planned: &Report) -> Result<bool> {
        let lines = planned.lines();
        if !terminal::stdin_is_terminal() || !terminal::stderr_is_terminal() {
            for line in &lines {
                context.printer.note(format_args!("would remove {line}"));
            }
            return Err(Error::invalid("there is no terminal to ask on whether all this may be removed")
                .with_hint("agentkernel sandbox clean --yes"));
        }
        for line in &lines {
            context.printer.note(format_args!("will remove {line}"));
        }
        context.printer.ask("remove all this?")
    }

    fn tell(&self, context: &Context, report: &Report) -> Result<()> {
        if self.json {
            context.printer.json(report)?;
        } else if report.is_empty() {
            context.printer.text("nothing to remove")?;
        } else {
            let verb = if report.dry_run { "would remove" } else { "removed" };
            let lines = report.lines();
            context.printer.text(format_args!("{verb} {}\n  {}", lines.len(), lines.join("\n  ")))?;
        }
        if !self.json && !report.found.kept.is_empty() {
            let kept: Vec<String> = report.found.kept.iter().map(|name| printable(name)).collect();
            context.printer.note(format_args!("kept what runs: {}; --force removes it too", kept.join(", ")));
        }
        if !self.json {
            for skipped in &report.found.skipped {
                context.printer.note(format_args!("left alone: {skipped}"));
            }
            for failure in &report.found.failures {
                context.printer.note(format_args!("not removed: {failure}"));
            }
        }
        match report.found.failures.len() {
            0 => Ok(()),
            n => Err(Error::internal(format!("{n} of what should go could not be removed"))
                .with_hint("mend what is said above, and run it again; agentkernel doctor may know more")),
        }
    }
}

impl Report {
    fn is_empty(&self) -> bool {
        self.lines().is_empty() && self.found.failures.is_empty()
    }

    /// One line for everything that goes.
    fn lines(&self) -> Vec<String> {
        let found = &self.found;
        let sandboxes = found.sandboxes.iter().map(|name| format!("sandbox {}", printable(name)));
        let leftovers = found.leftovers.iter().map(|id| format!("leftover {}", printable(id)));
        let mut lines: Vec<String> = sandboxes.chain(leftovers).collect();
        if let Some(freed) = &found.images {
            lines.extend(freed.images.iter().map(image));
            // Layers of images that go stand for themselves only where nothing else does.
            let layers = if freed.images.is_empty() { freed.layers } else { 0 };
            let rest = [(layers, "unused layers"), (freed.leftovers, "broken downloads")];
            lines.extend(rest.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{what}: {n}")));
        }
        if found.cached_bytes > 0 {
            lines.push(format!("copies of images in engines: {} KB", found.cached_bytes.div_ceil(1024)));
        }
        lines
    }
}

fn image(row: &ImageRow) -> String {
    match row.names.first() {
        Some(name) => format!("image {name}"),
        None => format!("image {}", row.id),
    }
}
