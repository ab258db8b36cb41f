//! Reading the log of connections, the newest lines first.

use super::{entry::Link, verify::is_part};
use crate::audit::{
    AuditEntry, AuditPage,
    reader::{self, Part},
};
use agentkernel_model::Result;
use std::{ops::ControlFlow, path::Path};

/// Which lines; both conditions must hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) only_blocked: bool,
    /// The newest so many.
    pub(crate) limit: usize,
}

impl Wanted {
    /// That lines are missing is always told.
    pub(super) fn wants(self, entry: &AuditEntry) -> bool {
        !self.only_blocked || entry.text("verdict") == Some("blocked") || entry.event() == "lost"
    }
}

/// The newest lines of the log at `path`.
pub(crate) fn read(path: &Path, wanted: Wanted) -> Result<AuditPage> {
    page(&reader::both(path)?, wanted)
}

pub(super) fn page(parts: &[Part], wanted: Wanted) -> Result<AuditPage> {
    if wanted.limit == 0 {
        return Ok(AuditPage::default());
    }
    let mut entries = Vec::new();
    let broken = reader::entries(parts, |entry| {
        if wanted.wants(&entry) {
            entries.push(entry);
        }
        if entries.len() < wanted.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    entries.reverse();
    Ok(AuditPage { entries, broken })
}

/// The last line and its place, to go on from. One that is damaged is no place: a check finds it in any case. The beginning
/// of one, which a crash leaves, is no line: the chain goes on without it, as a check does.
pub(super) fn last(path: &Path) -> Result<Option<(Link, Vec<u8>)>> {
    for part in reader::both(path)? {
        let mut found = None;
        let flow = reader::lines(&part.file, part.len, |line| {
            if line.is_some_and(is_part) {
                return ControlFlow::Continue(());
            }
            found = Some(line.unwrap_or_default().to_vec());
            ControlFlow::Break(())
        });
        let _stopped = flow.map_err(|e| part.fail(e))?;
        if let Some(line) = found {
            let link = AuditEntry::parse(&line).and_then(|entry| link(&entry)).unwrap_or_else(Link::first);
            return Ok(Some((link, line)));
        }
    }
    Ok(None)
}

/// The place of a line in its chain.
pub(super) fn link(entry: &AuditEntry) -> Option<Link> {
    let seq = entry.fields().get("seq")?.as_u64()?;
    Some(Link { seq, prev: entry.text("prev")?.to_owned() })
}
