//! Where the chain of a named sandbox ends at this moment, in a file beside its log: so that lines that are gone at the end are
//! missed while it runs, after its keeper was killed, and with the whole newest file.

use super::entry::Link;
use agentkernel_model::{Error, Result};
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

/// As [`read`], for whoever writes on: what is there and is none is put out of the way, so that the log goes on. An empty file is
/// what some file systems leave of it when the power fails.
///
/// # Errors
/// As [`read`], and when the directory cannot be written.
pub(super) fn read_or_set_aside(log: &Path) -> Result<Option<Head>> {
    let kept = place(log, ".head");
    match find(&kept) {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            let moved = fs::rename(&kept, place(log, DAMAGED));
            moved.map_err(|e| Error::io(format!("cannot rename '{}'", kept.display()), e))?;
            Ok(None)
        }
        found => found.map_err(|e| unreadable(&kept, e)),
    }
}

/// One that was put out of the way: nobody can tell whether lines that were written before are missing.
pub(super) fn set_aside(log: &Path) -> Option<PathBuf> {
    Some(place(log, DAMAGED)).filter(|damaged| damaged.symlink_metadata().is_ok())
}

/// The one beside `log`, if there is one.
///
/// # Errors
/// When it cannot be read, or is none.
pub(super) fn read(log: &Path) -> Result<Option<Head>> {
    let kept = place(log, ".head");
    find(&kept).map_err(|e| unreadable(&kept, e))
}

fn find(kept: &Path) -> io::Result<Option<Head>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match open(kept, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => File::from(other?),
    };
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

fn unreadable(kept: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot read '{}', which says where the log beside it ends", kept.display()), error)
        .with_hint("keep a copy of both: somebody changed it, or the disk did; without the file, the log is written on")
}
