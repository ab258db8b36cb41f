//! A log as it grows.

use super::{
    AuditEntry, AuditPage,
    reader::{self, LONGEST, Part},
};
use crate::{changes::Changes, directories::SandboxDir, keeper};
use agentkernel_model::{Error, Result};
use std::{
    fs::File,
    future::pending,
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    pin::Pin,
};

/// How much is read at once.
const PIECE: usize = 64 * 1024;

type Ending = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Which lines are handed out.
pub(crate) type Pick = Box<dyn Fn(&AuditEntry) -> bool + Send + Sync>;

/// What `page` makes of the log at `path` as it is now, and what comes that `pick` wants. With `kept` it ends with that
/// sandbox.
///
/// # Errors
/// When the log or its directory cannot be read, or this system does not tell when a file grows.
pub(crate) fn follow(
    path: PathBuf,
    kept: Option<SandboxDir>,
    page: impl FnOnce(&[Part]) -> Result<AuditPage>,
    pick: Pick,
) -> Result<(AuditPage, Following)> {
    // Before the first look, so that nothing falls between.
    let changes = Changes::of(path.parent().unwrap_or(&path))?;
    let mut parts = reader::both(&path)?;
    let page = page(&parts)?;
    let ending: Ending = match kept {
        Some(dir) => Box::pin(async move { keeper::ended(&dir).await }),
        None => Box::pin(pending()),
    };
    let newest = parts.drain(..).next().filter(|part| part.path == path);
    let (file, read) = newest.map_or((None, 0), |part| (Some(part.file), part.len));
    let tail = Tail { path, file, read, rest: Vec::new() };
    Ok((page, Following { changes, tail, ending: Some(ending), pick }))
}

/// The lines that come.
pub struct Following {
    changes: Changes,
    tail: Tail,
    /// `None` when the sandbox has ended.
    ending: Option<Ending>,
    pick: Pick,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl Following {
    /// The next lines, at least one; `None` when the sandbox has ended and everything was handed out.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<AuditEntry>>> {
        loop {
            let lines = self.tail.grown()?;
            let entries: Vec<AuditEntry> = lines
                .iter()
                .filter_map(|line| AuditEntry::parse(line))
                .filter(|entry| (self.pick)(entry))
                .collect();
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
            let Some(ending) = &mut self.ending else { return Ok(None) };
            tokio::select! {
                changed = self.changes.wait() => changed?,
                // Its keeper wrote everything before it let go: one more look.
                ended = ending => {
                    ended?;
                    self.ending = None;
                }
            }
        }
    }
}

/// The end of a file that grows, and may be moved away while it does.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// How much of it was read.
    read: u64,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl Tail {
    /// Whole lines that were not handed out before.
    fn grown(&mut self) -> Result<Vec<Vec<u8>>> {
        let fail = |path: &Path, e| Error::io(format!("cannot read '{}'", path.display()), e);
        let mut lines = Vec::new();
        loop {
            self.read_rest(&mut lines).map_err(|e| fail(&self.path, e))?;
            let newest = reader::open(&self.path).map_err(|e| fail(&self.path, e))?;
            let Some(newest) = newest else { return Ok(lines) };
            if self.is_open(&newest).map_err(|e| fail(&self.path, e))? {
                return Ok(lines);
            }
            // The one that was read was moved away, and nothing comes to it any more but what came until now.
            self.read_rest(&mut lines).map_err(|e| fail(&self.path, e))?;
            (self.file, self.read) = (Some(newest), 0);
            self.rest.clear();
        }
    }

    fn is_open(&self, newest: &File) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let (ours, theirs) = (file.metadata()?, newest.metadata()?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    }

    fn read_rest(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut piece = vec![0; PIECE];
        loop {
            let n = file.read_at(&mut piece, self.read)?;
            if n == 0 {
                return Ok(());
            }
            self.read += n as u64;
            for part in piece[..n].split_inclusive(|b| *b == b'\n') {
                self.rest.extend_from_slice(part);
                if let Some((b'\n', line)) = self.rest.split_last() {
                    lines.push(line.to_vec());
                    self.rest.clear();
                } else if self.rest.len() > LONGEST {
                    // None of ours; its end is no line either.
                    self.rest.clear();
                }
            }
        }
    }
}
