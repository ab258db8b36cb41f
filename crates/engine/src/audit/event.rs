//! Events, and how one becomes a line that is never longer than what is written in one piece.

use agentkernel_model::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most bytes of a line, its end included.
pub(crate) const MAX_LINE: usize = 4096;
/// JSON bytes of all words of a command.
const COMMAND: usize = 2048;
/// JSON bytes of all labels of a sandbox.
const LABELS: usize = 1024;
/// JSON bytes of a list of rules.
const TEXTS: usize = 1024;
/// JSON bytes of a user's name.
const USER: usize = 128;
/// Stands where text was cut off.
const MARK: char = '…';

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    SandboxCreated {
        name: &'a str,
        image: &'a str,
        backend: &'a str,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<&'a str, &'a str>,
    },
    SandboxStarted {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
    },
    SandboxStopped {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    SandboxUpdated {
        name: &'a str,
        /// Those that it has now.
        labels: BTreeMap<&'a str, &'a str>,
    },
    SandboxExtended {
        name: &'a str,
        expires_at: &'a str,
    },
    SandboxResized {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        memory: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cpus: Option<String>,
    },
    SandboxRemoved {
        name: &'a str,
    },
    CommandExecuted {
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<&'a str>,
        command: &'a [String],
        /// Words are missing, or the last one is not whole.
        #[serde(skip_serializing_if = "is_false")]
        command_cut: bool,
        /// `null`: whoever ran it did not wait for its end.
        exit_code: Option<u8>,
        #[serde(skip_serializing_if = "Option::is_none")]
        backend: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        image: Option<String>,
        duration_ms: u64,
    },
    FileWritten {
        sandbox: &'a str,
        path: String,
    },
    FileRead {
        sandbox: &'a str,
        path: String,
    },
    FileRemoved {
        sandbox: &'a str,
        path: String,
    },
    SessionAttached {
        sandbox: &'a str,
    },
    PolicyViolation {
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<&'a str>,
        policy: &'a str,
        details: String,
    },
    /// The gateway let a connection not out; each destination of a sandbox once. `sandbox` is a uuid where it has no name.
    NetworkBlocked {
        sandbox: &'a str,
        to: String,
        why: String,
    },
    /// The gateway of a sandbox has ended, and its chain in the log of connections has so many lines so far.
    ConnectionsWritten {
        sandbox: &'a str,
        id: String,
        lines: u64,
        /// The hash of the last line.
        last: &'a str,
    },
    NetworkChanged {
        sandbox: &'a str,
        /// As many as there are; those that were changed stand in `added` and `removed` as far as there is room.
        rules: usize,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        added: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
        otherwise: &'a str,
    },
    SandboxError {
        #[serde(skip_serializing_if = "Option::is_none")]
        sandbox: Option<&'a str>,
        error: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    pid: u32,
    user: &'a str,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// `event` as one line with its end.
///
/// # Errors
/// When it would be longer than [`MAX_LINE`], which the budgets of its parts rule out.
pub(super) fn line(timestamp: &str, user: &str, event: &Event<'_>) -> Result<Vec<u8>> {
    let user = cut(user, USER);
    let line = Line { timestamp, pid: std::process::id(), user: &user, event };
    let mut bytes =
        serde_json::to_vec(&line).map_err(|e| Error::internal("cannot encode an event").with_source(e))?;
    bytes.push(b'\n');
    if bytes.len() > MAX_LINE {
        return Err(Error::internal(format!("an event of {} bytes is too long to be written", bytes.len())));
    }
    Ok(bytes)
}

/// How many bytes a character takes in JSON; never less.
const fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// `text`, or as much of it as takes at most `budget` bytes of JSON, and a mark.
pub(crate) fn cut(text: &str, budget: usize) -> String {
    if text.chars().map(json_len).sum::<usize>() <= budget {
        return text.to_owned();
    }
    let mut room = budget.saturating_sub(MARK.len_utf8());
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            let fits = json_len(*c) <= room;
            room = room.saturating_sub(json_len(*c));
            fits
        })
        .collect();
    kept.push(MARK);
    kept
}

/// Texts as far as there is room, at most half of a line's.
pub(super) fn texts(all: &[String]) -> Vec<String> {
    let mut room = TEXTS;
    let fits = |text: &&String| {
        let needed = text.chars().map(json_len).sum::<usize>() + 3;
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    all.iter().take_while(fits).cloned().collect()
}

/// The words of a command as far as there is room for them in a line, and whether something of them is missing.
pub(super) fn words(all: &[String]) -> (Vec<String>, bool) {
    words_within(all, COMMAND)
}

/// The words of a command as far as they take at most `budget` bytes of JSON, and whether something of them is missing.
pub(crate) fn words_within(all: &[String], budget: usize) -> (Vec<String>, bool) {
    let mut room = budget;
    let mut kept = Vec::new();
    for word in all {
        // Quotes and a comma.
        let Some(budget) = room.checked_sub(3 + MARK.len_utf8()) else { return (kept, true) };
        let shown = cut(word, budget);
        let whole = shown == *word;
        room = budget.saturating_sub(shown.chars().map(json_len).sum());
        kept.push(shown);
        if !whole {
            return (kept, true);
        }
    }
    (kept, false)
}

/// Labels as far as there is room.
pub(super) fn labels(all: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let mut room = LABELS;
    let fits = |(key, value): &(&str, &str)| {
        // Their grammar has nothing that JSON escapes.
        let needed = key.len() + value.len() + 6;
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    all.iter().map(|(key, value)| (key.as_str(), value.as_str())).take_while(fits).collect()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
