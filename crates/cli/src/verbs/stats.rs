//! `agentkernel stats`.

use crate::{context::Context, render};
use agentkernel_engine::stats::Count;
use agentkernel_model::Result;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel stats
  agentkernel stats --json | jq .executions_30d

Counted from the audit log, which keeps the newest 10 to 20 MB of events; with AGENTKERNEL_AUDIT=0 nothing is counted.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stats {
    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Stats {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let stats = context.engine().stats()?;
        if self.json {
            context.printer.json(&stats)?;
            return Ok(0);
        }
        let never = || "-".to_owned();
        let mut rows = vec![
            ("Commands", format!("{}, {} in the last 30 days", stats.executions_total, stats.executions_30d)),
            ("Created", stats.sandboxes_created.to_string()),
            ("Removed", stats.sandboxes_removed.to_string()),
            ("Sandboxes", format!("{}, {} running", stats.sandboxes_active, stats.sandboxes_running)),
            ("Top images", ranking(&stats.top_images)),
            ("Top backends", ranking(&stats.top_backends)),
            ("First event", stats.first_event.unwrap_or_else(never)),
            ("Last event", stats.last_event.unwrap_or_else(never)),
        ];
        if stats.broken_lines > 0 {
            rows.push(("Broken lines", stats.broken_lines.to_string()));
        }
        context.printer.text(render::lines(&rows))?;
        Ok(0)
    }
}

fn ranking(counts: &[Count]) -> String {
    if counts.is_empty() {
        return "-".to_owned();
    }
    counts.iter().map(|c| format!("{} ({})", c.name, c.count)).collect::<Vec<_>>().join(", ")
}
