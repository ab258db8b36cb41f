//! Where the chain of a named sandbox ends at this moment, in a file beside its log: so that lines that are gone at the end are
//! missed while it runs, after its keeper was killed, and with the whole newest file.

use super::entry::Link;
use agentkernel_model::{Error, Kind, Result};
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// The longest file that is one.
const MAX: u64 = 4096;
const DAMAGED: &str = ".head.damaged";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    /// The name in the chain.
    pub(super) sandbox: String,
    pub(super) lines: u64,
    /// The hash of the last line.
    pub(super) last: String,
}

impl Head {
    /// The place of the next line.
    pub(super) fn next(self) -> Link {
        Link { seq: self.lines, prev: self.last }
    }
}

fn place(log: &Path, end: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Puts `head` in the place of the one before, at once. One writer at a time.
///
/// # Errors
/// When the directory cannot be written; then the one before is still there.
pub(super) fn write(log: &Path, head: &Head) -> Result<()> {
    let (new, kept) = (place(log, ".head.new"), place(log, ".head"));
    let written = (|| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(open(&new, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&serde_json::to_vec(head)?)?;
        fs::rename(&new, &kept)
    })();
    written.map_err(|e: io::Error| Error::io(format!("cannot write '{}'", kept.display()), e))
}

/// Puts one that cannot be read out of the way, so that the log goes on: an empty file is what some file systems leave of it
/// when the power fails.
///
/// # Errors
/// When the directory cannot be written.
pub(super) fn set_aside(log: &Path) -> Result<()> {
    let (kept, damaged) = (place(log, ".head"), place(log, DAMAGED));
    fs::rename(&kept, &damaged).map_err(|e| Error::io(format!("cannot rename '{}'", kept.display()), e))
}

/// # Errors
/// When one was put out of the way: nobody can tell whether lines that were written before are missing.
pub(super) fn check_none_set_aside(log: &Path) -> Result<()> {
    let damaged = place(log, DAMAGED);
    if damaged.symlink_metadata().is_err() {
        return Ok(());
    }
    let what = format!("'{}' could not be read when the log beside it was written on", damaged.display());
    Err(Error::new(Kind::Conflict, format!("{what}: lines before that may be missing")).with_hint(
        "remove it once you know why: somebody changed it, or the power failed; then verify again",
    ))
}

/// The one beside `log`, if there is one.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn read(log: &Path) -> Result<Option<Head>> {
    let kept = place(log, ".head");
    let found = (|| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match open(&kept, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => File::from(other?),
        };
        let mut bytes = Vec::new();
        file.take(MAX).read_to_end(&mut bytes)?;
        Ok(Some(serde_json::from_slice(&bytes)?))
    })();
    found.map_err(|e: io::Error| {
        Error::io(format!("cannot read '{}', which says where the log beside it ends", kept.display()), e)
            .with_hint("keep a copy of both: somebody changed it, or the disk did; without the file, the log is written on")
    })
}
