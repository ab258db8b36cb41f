//! Whether a log of connections is whole.

use super::{
    entry::{Link, hash},
    head,
    reader::link,
};
use crate::audit::{
    self, AuditEntry, MAX_LINE,
    log::LIMIT,
    reader::{self, LONGEST, Part},
};
use agentkernel_backend::Host;
use agentkernel_model::{Result, id::SandboxId};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// What a check of one log found.
#[derive(Debug, Clone, Serialize)]
pub struct Verified {
    pub path: PathBuf,
    pub lines: u64,
    /// The hash of the last line: who keeps it elsewhere sees later that lines were cut off at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Whether older lines were dropped because the log was full.
    pub rotated: bool,
    /// Beginnings of lines that a full disk did not take whole, and that are in no chain.
    #[serde(skip_serializing_if = "is_none")]
    pub parts: u64,
    /// The first line that is not what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub path: PathBuf,
    /// Counted from 1.
    pub line: u64,
    pub what: &'static str,
}

/// Where chains ended, as the log of events has it, by the ids of their sandboxes.
#[derive(Debug, Default)]
pub(crate) struct Ends(BTreeMap<String, Chain>);

/// The ends that one chain had, each for a time: a later keeper goes on.
#[derive(Debug, Clone)]
struct Chain {
    sandbox: String,
    /// How many lines there were, and the hash of the last one.
    ends: Vec<(u64, String)>,
}

impl Ends {
    /// To be read before the logs of connections, which grow meanwhile.
    ///
    /// # Errors
    /// When the log of events cannot be read.
    pub(crate) fn read(host: &Host) -> Result<Self> {
        let mut chains: BTreeMap<String, Chain> = BTreeMap::new();
        audit::backwards(host, |entry| {
            if let Some((id, sandbox, end)) = end(&entry) {
                chains.entry(id).or_insert(Chain { sandbox, ends: Vec::new() }).ends.push(end);
            }
            ControlFlow::Continue(())
        })?;
        Ok(Self(chains))
    }

    /// Of the log at `path`, of the named sandbox with this id: with what stands beside it.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(crate) fn of_named(&self, id: SandboxId, path: &Path) -> Result<Self> {
        let id = id.to_string();
        let mut chain = self.0.get(&id).cloned();
        if let Some(head) = head::read(path)? {
            let chain = chain.get_or_insert(Chain { sandbox: head.sandbox, ends: Vec::new() });
            chain.ends.push((head.lines, head.last));
        }
        Ok(Self(chain.map(|chain| (id, chain)).into_iter().collect()))
    }

    /// Of the log that sandboxes without a name share.
    pub(crate) fn of_unnamed(&self) -> Self {
        let unnamed = self.0.iter().filter(|(id, chain)| **id == chain.sandbox);
        Self(unnamed.map(|(id, chain)| (id.clone(), chain.clone())).collect())
    }

    fn by_sandbox(&self) -> BTreeMap<String, Chain> {
        self.0.values().map(|chain| (chain.sandbox.clone(), chain.clone())).collect()
    }
}

/// The id, the name in the chain, and the end of it.
fn end(entry: &AuditEntry) -> Option<(String, String, (u64, String))> {
    if entry.event() != "connections_written" {
        return None;
    }
    let text = |key| entry.text(key).map(str::to_owned);
    let lines = entry.fields().get("lines")?.as_u64()?;
    Some((text("id")?, text("sandbox")?, (lines, text("last")?)))
}

/// Checks the log at `path`, both of its files, whose chains ended at `ends`. Stops at the first broken line.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn verify(path: &Path, ends: &Ends) -> Result<Verified> {
    check(path, ends, LIMIT)
}

/// As [`verify`], of a log whose files are full with `limit` bytes.
pub(super) fn check(path: &Path, ends: &Ends, limit: u64) -> Result<Verified> {
    let mut parts = reader::both(path)?;
    parts.reverse();
    let mut found =
        Verified { path: path.to_owned(), lines: 0, last: None, rotated: false, parts: 0, broken: None };
    let is_old = |part: &Part| part.path != path;
    // The older file is moved away when it is full. One that is not has lost lines.
    let mut chains = Chains {
        may_begin_late: parts.first().is_some_and(|p| is_old(p) && p.len + MAX_LINE as u64 > limit),
        next: BTreeMap::new(),
        ends: ends.by_sandbox(),
    };
    let (mut behind, mut part_of_line) = (1, None);
    for part in &parts {
        let mut input = BufReader::new((&part.file).take(part.len));
        let mut line = Vec::new();
        for number in 1.. {
            let read = next_line(&mut input, &mut line).map_err(|e| part.fail(e))?;
            let judged = match read {
                Read::End => {
                    behind = number;
                    break;
                }
                Read::TooLong => Err("it is too long"),
                Read::Line if is_part(&line) => {
                    part_of_line =
                        Some(Broken { path: part.path.clone(), line: number, what: "it is cut off" });
                    found.parts += 1;
                    continue;
                }
                Read::Line => chains.judge(&line),
            };
            if let Err(what) = judged {
                found.broken = Some(Broken { path: part.path.clone(), line: number, what });
                return Ok(found);
            }
            part_of_line = None;
            found.rotated |= judged == Ok(Judged::BeginsLate);
            found.lines += 1;
            found.last = Some(hash(&line));
        }
    }
    // Lines that are not there have no number: the next one after those that are.
    let missing = chains.missing().map(|what| Broken { path: path.to_owned(), line: behind, what });
    let what = "it could not be read when the log was written on, and lines before that may be missing";
    let damaged = head::set_aside(path).map(|path| Broken { path, line: 1, what });
    // What is written after a part says that the part was no line: the chain goes on without it.
    found.broken = missing.or(part_of_line).or(damaged);
    Ok(found)
}

/// Whether `line` is the beginning of one, which was to be taken back and could not. A line of a chain that was cut to one is
/// missed by the line behind it, and by what is known of the end.
pub(super) fn is_part(line: &[u8]) -> bool {
    const BEGINNING: &[u8] = b"{\"timestamp\":\"";
    let begins = line.starts_with(BEGINNING) || BEGINNING.starts_with(line);
    begins && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err_and(|e| e.is_eof())
}

enum Read {
    Line,
    TooLong,
    End,
}

/// The next line, without its end.
fn next_line(input: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<Read> {
    line.clear();
    let read = input.take(LONGEST as u64).read_until(b'\n', line)?;
    Ok(match line.pop() {
        None => Read::End,
        Some(b'\n') => Read::Line,
        Some(_) if read == LONGEST => Read::TooLong,
        // The end of the file in the middle of a line, which is judged as it is.
        Some(last) => {
            line.push(last);
            Read::Line
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Follows,
    Begins,
    BeginsLate,
}

/// The chain of each sandbox, as far as it was read.
struct Chains {
    /// Lines before the first ones may have been dropped.
    may_begin_late: bool,
    next: BTreeMap<String, Link>,
    ends: BTreeMap<String, Chain>,
}

impl Chains {
    fn judge(&mut self, line: &[u8]) -> Result<Judged, &'static str> {
        let entry = AuditEntry::parse(line).ok_or("it is no line of this log")?;
        let (own, sandbox) = link(&entry).zip(entry.text("sandbox")).ok_or("it is no line of this log")?;
        let judged = match self.next.get(sandbox) {
            Some(expected) if own.prev != expected.prev => {
                return Err(if own.seq == expected.seq {
                    "the line before it was changed"
                } else {
                    "lines before it are missing"
                });
            }
            Some(expected) if own.seq != expected.seq => return Err("lines before it are missing"),
            Some(_) => Judged::Follows,
            None if own == Link::first() => Judged::Begins,
            None if self.may_begin_late => Judged::BeginsLate,
            None => return Err("lines before it are missing"),
        };
        let after = own.after(line);
        let is_another = |(lines, last): &(u64, String)| *lines == after.seq && *last != after.prev;
        if self.ends.get(sandbox).is_some_and(|chain| chain.ends.iter().any(is_another)) {
            return Err("the log of events knows another line here");
        }
        self.next.insert(sandbox.to_owned(), after);
        Ok(judged)
    }

    /// What the log of events knows and this one has not. A chain that is gone as a whole may have been dropped with the
    /// oldest file.
    fn missing(&self) -> Option<&'static str> {
        self.ends.iter().find_map(|(sandbox, chain)| match self.next.get(sandbox) {
            Some(next) => chain
                .ends
                .iter()
                .any(|(lines, _)| next.seq < *lines)
                .then_some("the last lines of a sandbox are missing"),
            None => (!self.may_begin_late).then_some("all lines of a sandbox are missing"),
        })
    }
}
