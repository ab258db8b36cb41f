//! `agentkernel setup`.

use crate::context::Context;
use agentkernel_engine::request::BackendReport;
use agentkernel_model::{Error, Kind, Result, text::printable};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel setup --check           which backend would run a sandbox here
  agentkernel setup --check --json

Nothing has to be installed for the built-in sandbox of Linux.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Setup {
    /// Only look, change nothing. This version has nothing to install, so it is the same without
    #[arg(long)]
    check: bool,

    /// Answer with one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

impl Setup {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        let reports = context.block_on(engine.backends())?;
        if self.json {
            context.printer.json(&reports)?;
        } else {
            context.printer.text(lines(&reports))?;
        }
        let Some(selected) = reports.iter().find(|r| r.selected) else {
            return Err(Error::new(Kind::Unavailable, "no backend works on this machine")
                .with_hint("follow one of the hints above, then try 'agentkernel setup --check' again"));
        };
        if !self.json && !self.check {
            context.printer.note(format_args!("nothing to install: {} is ready", selected.id));
        }
        Ok(0)
    }
}

fn lines(reports: &[BackendReport]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        let selected = if report.selected { " (selected)" } else { "" };
        lines.push(printable(&format!("{}{selected}: {}", report.id, report.reason)));
        lines.extend(report.hint.iter().map(|hint| format!("  hint: {}", printable(hint))));
        let attributes = report.attributes.iter();
        lines.extend(attributes.map(|(key, value)| printable(&format!("  {key}: {value}"))));
    }
    lines.join("\n")
}
