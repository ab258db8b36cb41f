//! Lines at the end of a chain.

use super::{
    entry::{self, Entry, Link, Weight},
    head::{self, Head},
    reader,
};
use crate::{
    audit::log::{self, FileId, LIMIT},
    directories,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Where a chain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With a first line: nobody has written for this sandbox yet.
    Anew,
    /// Behind the last line of the file, which only this sandbox has.
    WhereItEnds,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    /// This sandbox has had its share of the file: nobody's lines are pushed out by a flood of its own.
    TooMuch,
}

/// Bytes that a sandbox has written to one file.
#[derive(Debug, Default)]
struct Spent {
    file: Option<FileId>,
    heavy: u64,
    names: u64,
    light: u64,
}

/// Writes for one sandbox; nobody else does at the same time.
#[derive(Debug)]
pub(super) struct Journal {
    host: Host,
    path: PathBuf,
    sandbox: String,
    start: Start,
    /// The next line's; `None` before the first one.
    link: Option<Link>,
    limit: u64,
    spent: Spent,
}

impl Journal {
    /// Does no I/O.
    pub(super) fn new(host: Host, path: PathBuf, sandbox: String, start: Start) -> Self {
        Self { host, path, sandbox, start, link: None, limit: LIMIT, spent: Spent::default() }
    }

    /// The same, whose file is moved away when it would be longer than `limit` bytes.
    #[cfg(test)]
    pub(super) const fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// After an error nothing is written and the chain is where it was.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<Fate> {
        let link = match &self.link {
            Some(link) => link.clone(),
            None => self.begin()?,
        };
        let mut line = entry::line(entry, &self.sandbox, &link)?;
        let next = link.after(&line);
        line.push(b'\n');
        let fail = |path: &Path, e| Error::io(format!("cannot write to '{}'", path.display()), e);
        if !self.has_share(entry, line.len() as u64).map_err(|e| fail(&self.path, e))? {
            return Ok(Fate::TooMuch);
        }
        let written = match log::append(&self.path, &line, self.limit) {
            // A sandbox may be older than the data directory.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                directories::ensure(&self.host)?;
                log::append(&self.path, &line, self.limit)
            }
            other => other,
        };
        self.spent.add(written.map_err(|e| fail(&self.path, e))?, entry, line.len() as u64);
        self.link = Some(next);
        Ok(Fate::Written)
    }

    /// Whether `entry` may take `bytes` of the file that is there now.
    fn has_share(&self, entry: &Entry, bytes: u64) -> io::Result<bool> {
        // Neither comes more than once a minute.
        if entry.is_lost() || entry.is_shortage() {
            return Ok(true);
        }
        let (spent, share) = match (entry.weight(), self.start) {
            // The file is its own: what goes out may push out what went.
            (Weight::Heavy, Start::WhereItEnds) => return Ok(true),
            (Weight::Name | Weight::Light, Start::WhereItEnds) | (Weight::Heavy, Start::Anew) => {
                (self.spent.of(entry), self.limit / 5)
            }
            (Weight::Name | Weight::Light, Start::Anew) => (self.spent.of(entry), self.limit / 40),
        };
        Ok(spent + bytes <= share || log::current(&self.path)? != self.spent.file)
    }

    /// How long the chain is, and the hash of its last line; `None` before this journal's first one.
    pub(super) fn end(&self) -> Option<(u64, &str)> {
        self.link.as_ref().map(|link| (link.seq, link.prev.as_str()))
    }

    /// Writes down where the chain ends now, for a file that is the sandbox's own, unless that was `noted`.
    pub(super) fn note_end(&self, noted: &mut u64) -> Result<()> {
        let Some((lines, last)) = self.end().filter(|(lines, _)| lines != noted) else { return Ok(()) };
        if self.start == Start::WhereItEnds {
            let head = Head { sandbox: self.sandbox.clone(), lines, last: last.to_owned() };
            head::write(&self.path, &head)?;
        }
        *noted = lines;
        Ok(())
    }

    /// Behind the last line, or behind one that is not there any more: then it is missed for ever.
    fn begin(&self) -> Result<Link> {
        if self.start == Start::Anew {
            return Ok(Link::first());
        }
        let found = reader::last(&self.path)?.map_or_else(Link::first, |(link, line)| link.after(&line));
        Ok(match head::read_or_set_aside(&self.path)? {
            Some(head) if head.lines > found.seq => head.next(),
            _ => found,
        })
    }
}

impl Spent {
    fn of(&self, entry: &Entry) -> u64 {
        match entry.weight() {
            Weight::Heavy => self.heavy,
            Weight::Name => self.names,
            Weight::Light => self.light,
        }
    }

    fn add(&mut self, file: FileId, entry: &Entry, bytes: u64) {
        if self.file != Some(file) {
            *self = Self { file: Some(file), ..Self::default() };
        }
        match entry.weight() {
            Weight::Heavy => self.heavy += bytes,
            Weight::Name => self.names += bytes,
            Weight::Light => self.light += bytes,
        }
    }
}
