//! How agentkernel was used, counted from the log of events.

use crate::{audit, clock, engine::Engine, query, record, request::Status};
use agentkernel_model::Result;
use serde::Serialize;
use std::{collections::HashMap, ops::ControlFlow};

/// Milliseconds of the thirty days that are counted apart.
const RECENTLY: i64 = 30 * 24 * 60 * 60 * 1000;
/// The most entries of a ranking.
const TOP: usize = 5;

/// What the log and the records say. The log keeps the newest 10 to 20 MB: what is older is not counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    pub executions_total: u64,
    pub executions_30d: u64,
    pub sandboxes_created: u64,
    pub sandboxes_removed: u64,
    /// Named sandboxes that there are now.
    pub sandboxes_active: u64,
    /// Those of them that a keeper keeps up. No backend is asked.
    pub sandboxes_running: u64,
    /// Images by how many commands ran in them, the most used first.
    pub top_images: Vec<Count>,
    pub top_backends: Vec<Count>,
    /// When the oldest event in the log was; RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
    /// Lines of the log that are no events.
    pub broken_lines: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub name: String,
    pub count: u64,
}

pub(crate) fn stats(engine: &Engine) -> Result<Stats> {
    let mut stats = Stats::default();
    let now = clock::now();
    for record in query::records(engine)?.iter().filter(|record| record::is_shown(record)) {
        stats.sandboxes_active += 1;
        let (status, _) = record::status(record, &engine.host, now)?;
        stats.sandboxes_running += u64::from(status == Status::Running);
    }
    let since = clock::rfc3339_millis(clock::now().saturating_sub(RECENTLY));
    let (mut images, mut backends) = (HashMap::new(), HashMap::new());
    stats.broken_lines = audit::backwards(&engine.host, |entry| {
        let at = entry.timestamp();
        // All timestamps are UTC and of one length: their order is the order of time.
        if stats.last_event.as_deref().is_none_or(|last| last < at) {
            stats.last_event = Some(at.to_owned());
        }
        if stats.first_event.as_deref().is_none_or(|first| at < first) {
            stats.first_event = Some(at.to_owned());
        }
        match entry.event() {
            "sandbox_created" => stats.sandboxes_created += 1,
            "sandbox_removed" => stats.sandboxes_removed += 1,
            "command_executed" => {
                stats.executions_total += 1;
                stats.executions_30d += u64::from(*at >= *since);
                count(&mut images, entry.text("image"));
                count(&mut backends, entry.text("backend"));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    stats.top_images = ranked(images);
    stats.top_backends = ranked(backends);
    Ok(stats)
}

fn count(counts: &mut HashMap<String, u64>, name: Option<&str>) {
    let Some(name) = name else { return };
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

/// The highest counts, and by name among equals.
fn ranked(counts: HashMap<String, u64>) -> Vec<Count> {
    let mut ranked: Vec<Count> = counts.into_iter().map(|(name, count)| Count { name, count }).collect();
    ranked.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    ranked.truncate(TOP);
    ranked
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
