//! What an ephemeral run leaves on the host while it lasts: a file that is locked by its process and names its control
//! group, and beside it a directory for layers where there are any. Whoever finds a file that nobody locks cleans up
//! after a process that was killed.

use crate::{cgroup::Group, idmap::IdMap, purge::purge};
use rustix::{
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The lock and leftovers of one run. Everything is removed when dropped.
#[derive(Debug)]
pub(crate) struct Run {
    path: PathBuf,
    map: IdMap,
    group: Option<Group>,
    /// Held open for its lock.
    file: OwnedFd,
}

/// Where the run whose file is `path` keeps its layers.
pub(crate) fn layers(path: &Path) -> PathBuf {
    path.with_extension("layers")
}

impl Run {
    pub(crate) fn create(path: &Path, map: IdMap) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::NOENT) => make_private(path.parent().unwrap_or(path))?,
                file => {
                    // A sweep may have seen the file before it was locked: then it removes it, which is waited for.
                    let file = file?;
                    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::LockExclusive))?;
                    if rustix::fs::fstat(&file)?.st_nlink > 0 {
                        return Ok(Self { path: path.to_owned(), map, group: None, file });
                    }
                }
            }
        }
    }

    /// Must be called before the group is made. A scope is recorded again, with its directory, when that is known: the
    /// text only grows then.
    pub(crate) fn record(&mut self, group: Group) -> Result<(), Errno> {
        rustix::io::pwrite(&self.file, group.to_text().as_bytes(), 0)?;
        self.group = Some(group);
        Ok(())
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // What cannot be removed now is found by the next sweep.
        let removed = self.group.as_ref().is_none_or(|g| g.remove().is_ok());
        if removed && purge(&layers(&self.path), &self.map).is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_private(path: &Path) -> Result<(), Errno> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// The locked file, if nobody else has locked it and it still exists.
fn lock(file: OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => return Ok(None),
        other => other?,
    }
    Ok((rustix::fs::fstat(&file)?.st_nlink > 0).then_some(file))
}

/// Cleans up after runs whose process is gone.
pub(crate) fn sweep(runs: &Path, map: &IdMap) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for path in entries.filter_map(|e| Some(e.ok()?.path())) {
        if path.extension().is_some() {
            continue;
        }
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else { continue };
        let Ok(Some(file)) = lock(file) else { continue };
        let text = fs::read_to_string(&path).unwrap_or_default();
        drop(Run { group: Group::from_text(&text), map: map.clone(), path, file });
    }
}

#[cfg(test)]
#[path = "runs_tests.rs"]
mod tests;
