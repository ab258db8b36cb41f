//! Reading events, the newest first, from both files and without holding more of them than was asked for.

use super::{log, path};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result, name::SandboxName};
use rustix::fs::{Mode, OFlags};
use serde_json::{Map, Value};
use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// A line that is longer is none of ours.
pub(crate) const LONGEST: usize = 64 * 1024;

/// Which events; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    pub sandbox: Option<SandboxName>,
    /// The newest so many.
    pub limit: usize,
}

impl AuditQuery {
    pub(super) fn wants(&self, entry: &AuditEntry) -> bool {
        self.sandbox.as_ref().is_none_or(|name| entry.sandbox() == Some(name.as_str()))
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct AuditPage {
    /// The oldest first.
    pub entries: Vec<AuditEntry>,
    /// Lines that are no events: damaged, or written by something else.
    pub broken: usize,
}

/// One event as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    line: String,
    fields: Map<String, Value>,
}

impl AuditEntry {
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let entry = Self { line: line.trim().to_owned(), fields };
        (!entry.timestamp().is_empty() && !entry.event().is_empty()).then_some(entry)
    }

    /// The JSON object, on one line.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.line
    }

    /// RFC 3339, UTC, with milliseconds.
    #[must_use]
    pub fn timestamp(&self) -> &str {
        self.text("timestamp").unwrap_or_default()
    }

    /// What happened, such as `command_executed`.
    #[must_use]
    pub fn event(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// What happened to a sandbox, as the HTTP API calls it, such as `sandbox.exec.completed`; `None` for what is no step of
    /// a sandbox's life.
    #[must_use]
    pub fn lifecycle(&self) -> Option<&'static str> {
        Some(match self.event() {
            "sandbox_created" => "sandbox.created",
            "sandbox_started" => "sandbox.started",
            "sandbox_stopped" => "sandbox.stopped",
            "sandbox_removed" => "sandbox.deleted",
            "sandbox_updated" => "sandbox.updated",
            "sandbox_extended" => "sandbox.extended",
            "sandbox_resized" => "sandbox.resized",
            "sandbox_error" => "sandbox.error",
            "command_executed" => "sandbox.exec.completed",
            "session_attached" => "sandbox.attached",
            "file_read" => "sandbox.file.read",
            "file_written" => "sandbox.file.written",
            "network_changed" => "sandbox.network.changed",
            "network_blocked" => "sandbox.network.blocked",
            "policy_violation" => "sandbox.policy.violation",
            _ => return None,
        })
    }

    /// The named sandbox that it happened to.
    #[must_use]
    pub fn sandbox(&self) -> Option<&str> {
        self.text("sandbox").or_else(|| self.text("name"))
    }

    /// The field `key` where it is text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    /// Every field.
    #[must_use]
    pub const fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }
}

/// The newest events that `query` wants.
pub(crate) fn read(host: &Host, query: &AuditQuery) -> Result<AuditPage> {
    page(&both(&path(host))?, query)
}

pub(super) fn page(parts: &[Part], query: &AuditQuery) -> Result<AuditPage> {
    let mut found = Vec::new();
    if query.limit == 0 {
        return Ok(AuditPage::default());
    }
    let broken = entries(parts, |entry| {
        if query.wants(&entry) {
            found.push(entry);
        }
        if found.len() < query.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    found.reverse();
    Ok(AuditPage { entries: found, broken })
}

/// Hands out events, the newest first, until `each` has enough; the result is how many lines were broken.
///
/// # Errors
/// When a file cannot be read. That there is none means that nothing has happened yet.
pub(crate) fn backwards(host: &Host, each: impl FnMut(AuditEntry) -> ControlFlow<()>) -> Result<usize> {
    entries(&both(&path(host))?, each)
}

/// One of the two files of a log, and how long it was when it was opened.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) len: u64,
}

impl Part {
    pub(crate) fn fail(&self, error: io::Error) -> Error {
        unreadable(&self.path, error)
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read '{}'", path.display()), error)
}

/// The files of the log at `path` that are there, the newer one first.
pub(crate) fn both(path: &Path) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let mut seen = None;
    for path in [path.to_owned(), log::old(path)] {
        let Some(file) = open(&path).map_err(|e| unreadable(&path, e))? else { continue };
        let found = file.metadata().map_err(|e| unreadable(&path, e))?;
        // Moved away between the two looks: it is there already.
        if seen.replace((found.dev(), found.ino())) == Some((found.dev(), found.ino())) {
            break;
        }
        parts.push(Part { path, file, len: found.len() });
    }
    Ok(parts)
}

/// As [`backwards`], of files that are open.
pub(crate) fn entries(parts: &[Part], mut each: impl FnMut(AuditEntry) -> ControlFlow<()>) -> Result<usize> {
    let mut broken = 0;
    for part in parts {
        let flow = lines(&part.file, part.len, |line| match line.and_then(AuditEntry::parse) {
            Some(entry) => each(entry),
            None => {
                broken += 1;
                ControlFlow::Continue(())
            }
        });
        if flow.map_err(|e| part.fail(e))?.is_break() {
            break;
        }
    }
    Ok(broken)
}

/// `None` when there is none. Never waits and follows no link.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if file.metadata()?.is_file() {
        return Ok(Some(file));
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

/// The lines of the first `len` bytes of `file`, the last one first; `None` stands for one that is too long.
pub(crate) fn lines(
    file: &File,
    len: u64,
    mut each: impl FnMut(Option<&[u8]>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut piece = vec![0; PIECE];
    let mut end = len;
    let mut line = Tail::default();
    while end > 0 {
        let start = end.saturating_sub(PIECE as u64);
        let bytes = &mut piece[..usize::try_from(end - start).unwrap_or(PIECE)];
        file.read_exact_at(bytes, start)?;
        let mut rest = &bytes[..];
        while let Some(at) = rest.iter().rposition(|b| *b == b'\n') {
            line.prepend(&rest[at + 1..]);
            if line.hand_out(&mut each).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            rest = &rest[..at];
        }
        line.prepend(rest);
        end = start;
    }
    Ok(line.hand_out(&mut each))
}

/// The end of a line whose beginning is not read yet.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Tail {
    fn prepend(&mut self, bytes: &[u8]) {
        self.too_long |= self.bytes.len() + bytes.len() > LONGEST;
        if self.too_long {
            self.bytes.clear();
        } else {
            self.bytes.splice(..0, bytes.iter().copied());
        }
    }

    /// Hands it out unless it is empty, and starts anew.
    fn hand_out(&mut self, each: &mut impl FnMut(Option<&[u8]>) -> ControlFlow<()>) -> ControlFlow<()> {
        let whole = std::mem::take(self);
        if whole.too_long {
            return each(None);
        }
        if whole.bytes.is_empty() { ControlFlow::Continue(()) } else { each(Some(&whole.bytes)) }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
