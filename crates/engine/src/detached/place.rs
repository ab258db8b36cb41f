//! The files of a sandbox's detached commands: for each what is known of it, and its two logs.

use super::log::{self, Start};
use crate::{audit::reader, directories::SandboxDir, request::DetachedStream};
use agentkernel_model::{Error, Result, id::DetachedId};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder},
    io::{self, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// Of how many commands there are files at most.
pub(crate) const MAX_KEPT: usize = 64;
/// JSON bytes of the words of a command that are remembered.
pub(crate) const MAX_COMMAND: usize = 32 * 1024;
/// A record that is longer is none of ours.
const MAX_RECORD: u64 = 256 * 1024;

/// What is known of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) id: DetachedId,
    pub(crate) command: Vec<String>,
    /// Words are missing, or the last one is not whole.
    #[serde(default)]
    pub(crate) command_cut: bool,
    pub(crate) pid: Option<u32>,
    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) started_at: i64,
    /// `None` while it runs, and for ever when its keeper was killed.
    pub(crate) ended: Option<Ended>,
    #[serde(default)]
    pub(crate) stdout_dropped: u64,
    #[serde(default)]
    pub(crate) stderr_dropped: u64,
    /// What its logs are; `None` of a keeper that does not say it.
    #[serde(default)]
    pub(crate) stdout_start: Option<Start>,
    #[serde(default)]
    pub(crate) stderr_start: Option<Start>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// `None`: nobody saw it.
    pub(crate) at: Option<i64>,
    pub(crate) exit_code: Option<u8>,
    /// Where the code does not say it all.
    pub(crate) reason: Option<String>,
}

impl Stored {
    /// What stands for a record that cannot be read.
    fn unreadable(id: DetachedId) -> Self {
        let reason = Some("its record is damaged".to_owned());
        Self {
            id,
            command: Vec::new(),
            command_cut: true,
            pid: None,
            started_at: 0,
            ended: Some(Ended { at: None, exit_code: None, reason }),
            stdout_dropped: 0,
            stderr_dropped: 0,
            stdout_start: None,
            stderr_start: None,
        }
    }

    /// How much of a log is not there any more, and what the log is.
    pub(crate) const fn log(&self, stream: DetachedStream) -> (u64, Option<Start>) {
        match stream {
            DetachedStream::Stdout => (self.stdout_dropped, self.stdout_start),
            DetachedStream::Stderr => (self.stderr_dropped, self.stderr_start),
        }
    }

    pub(crate) const fn set_log(&mut self, stream: DetachedStream, dropped: u64, start: Start) {
        match stream {
            DetachedStream::Stdout => (self.stdout_dropped, self.stdout_start) = (dropped, Some(start)),
            DetachedStream::Stderr => (self.stderr_dropped, self.stderr_start) = (dropped, Some(start)),
        }
    }
}

/// The directory of these files.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// Does no I/O.
    pub(crate) fn of(dir: &SandboxDir) -> Self {
        Self(dir.path.join("detached"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self, id: DetachedId, stream: DetachedStream) -> PathBuf {
        self.0.join(format!("{id}.{}", stream.as_str()))
    }

    fn record(&self, id: DetachedId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// Makes the directory; that it is there already is no error.
    pub(crate) fn make(&self) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(self.fail("make", e)),
            _ => Ok(()),
        }
    }

    /// Puts `stored` in the place of what was known before, in one step.
    pub(crate) fn write(&self, stored: &Stored) -> Result<()> {
        let path = self.record(stored.id);
        let new = log::new(&path);
        let bytes = serde_json::to_vec(stored)
            .map_err(|e| Error::internal("cannot encode a detached command").with_source(e))?;
        let written = log::open(&new, OFlags::TRUNC)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&new, &path));
        written.map_err(|e| {
            let _nothing_there = fs::remove_file(&new);
            self.fail("write to", e)
        })
    }

    pub(crate) fn read(&self, id: DetachedId) -> Result<Option<Stored>> {
        let read = || {
            let Some(file) = reader::open(&self.record(id))? else { return Ok(None) };
            let mut bytes = Vec::new();
            file.take(MAX_RECORD + 1).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        };
        let Some(bytes) = read().map_err(|e| self.fail("read", e))? else { return Ok(None) };
        // After a loss of power it can be empty.
        let whole = serde_json::from_slice(&bytes).ok().filter(|stored: &Stored| stored.id == id);
        Ok(Some(whole.unwrap_or_else(|| Stored::unreadable(id))))
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        for path in self.files()? {
            let Some(id) = id_of(&path) else { continue };
            // Removed since it was listed: it was an old one.
            all.extend(self.read(id)?);
        }
        all.sort_by_key(|stored| (stored.started_at, stored.id));
        Ok(all)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| self.fail("list", e))?,
        };
        entries.map(|entry| entry.map(|e| e.path()).map_err(|e| self.fail("list", e))).collect()
    }

    /// Removes what is kept of a command; that there is nothing is no error.
    pub(crate) fn forget(&self, id: DetachedId) -> Result<()> {
        // The record last: what has one is listed.
        for path in
            [self.log(id, DetachedStream::Stdout), self.log(id, DetachedStream::Stderr), self.record(id)]
        {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.fail("clear", e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes down that whatever is not known to have ended has, because of `reason`, and removes what was only half
    /// written. For who knows that nothing runs.
    pub(crate) fn settle(&self, reason: &str) -> Result<()> {
        for path in self.files()? {
            if path.extension().is_some_and(|extension| extension == "new") {
                fs::remove_file(&path).map_err(|e| self.fail("clear", e))?;
            }
        }
        for stored in self.all()?.into_iter().filter(|stored| stored.ended.is_none()) {
            let ended = Ended { at: None, exit_code: None, reason: Some(reason.to_owned()) };
            self.write(&Stored { ended: Some(ended), ..stored })?;
        }
        Ok(())
    }

    fn fail(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {what} '{}'", self.0.display()), error)
    }
}

/// Whose record is at `path`, if that is one.
fn id_of(path: &Path) -> Option<DetachedId> {
    path.file_name()?.to_str()?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
