//! Lines at the end of a chain.

use super::{
    entry::{self, Entry, Link},
    reader,
};
use crate::{
    audit::log::{self, LIMIT},
    directories,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result};
use std::{io, path::PathBuf};

/// Where a chain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// With a first line: nobody has written for this sandbox yet.
    Anew,
    /// Behind the last line of the file, which only this sandbox has.
    WhereItEnds,
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
}

impl Journal {
    /// Does no I/O.
    pub(super) const fn new(host: Host, path: PathBuf, sandbox: String, start: Start) -> Self {
        Self { host, path, sandbox, start, link: None, limit: LIMIT }
    }

    /// The same, whose file is moved away when it would be longer than `limit` bytes.
    #[cfg(test)]
    pub(super) const fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// After an error nothing is written and the chain is where it was.
    pub(super) fn append(&mut self, entry: &Entry) -> Result<()> {
        let link = match &self.link {
            Some(link) => link.clone(),
            None => self.begin()?,
        };
        let mut line = entry::line(entry, &self.sandbox, &link)?;
        let next = link.after(&line);
        line.push(b'\n');
        let fail = |e| Error::io(format!("cannot write to '{}'", self.path.display()), e);
        match log::append(&self.path, &line, self.limit) {
            // A sandbox may be older than the data directory.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                directories::ensure(&self.host)?;
                log::append(&self.path, &line, self.limit).map_err(fail)?;
            }
            other => other.map_err(fail)?,
        }
        self.link = Some(next);
        Ok(())
    }

    fn begin(&self) -> Result<Link> {
        match self.start {
            Start::Anew => Ok(Link::first()),
            Start::WhereItEnds => {
                Ok(reader::last(&self.path)?.map_or_else(Link::first, |(link, line)| link.after(&line)))
            }
        }
    }
}
