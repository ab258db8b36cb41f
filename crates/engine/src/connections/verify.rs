//! Whether a log of connections is whole.

use super::{
    entry::{Link, hash},
    reader::link,
};
use crate::audit::{
    AuditEntry, MAX_LINE,
    log::LIMIT,
    reader::{self, LONGEST, Part},
};
use agentkernel_model::Result;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _},
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
    /// The first line that is not what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    pub path: PathBuf,
    /// Counted from 1.
    pub line: u64,
    pub what: &'static str,
}

/// Checks the log at `path`, both of its files. Stops at the first broken line.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn verify(path: &Path) -> Result<Verified> {
    check(path, LIMIT)
}

/// As [`verify`], of a log whose files are full with `limit` bytes.
pub(super) fn check(path: &Path, limit: u64) -> Result<Verified> {
    let mut parts = reader::both(path)?;
    parts.reverse();
    let mut found = Verified { path: path.to_owned(), lines: 0, last: None, rotated: false, broken: None };
    let is_old = |part: &Part| part.path != path;
    // The older file is moved away when it is full. One that is not has lost lines.
    let mut chains = Chains {
        may_begin_late: parts.first().is_some_and(|p| is_old(p) && p.len + MAX_LINE as u64 > limit),
        next: BTreeMap::new(),
    };
    for part in &parts {
        let mut input = BufReader::new((&part.file).take(part.len));
        let mut line = Vec::new();
        for number in 1.. {
            let read = next_line(&mut input, &mut line).map_err(|e| part.fail(e))?;
            let judged = match read {
                Read::End => break,
                Read::TooLong => Err("it is too long"),
                Read::Line => chains.judge(&line),
            };
            if let Err(what) = judged {
                found.broken = Some(Broken { path: part.path.clone(), line: number, what });
                return Ok(found);
            }
            found.rotated |= judged == Ok(Judged::BeginsLate);
            found.lines += 1;
            found.last = Some(hash(&line));
        }
    }
    Ok(found)
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
        self.next.insert(sandbox.to_owned(), own.after(line));
        Ok(judged)
    }
}
