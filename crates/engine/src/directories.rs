//! The data directory and those of sandboxes: private, and owned by the user who uses them.

use crate::lock::{self, Lock, Reached};
use agentkernel_archive::remove_tree;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result, id::SandboxId};
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The database of records.
pub(crate) fn database(host: &Host) -> PathBuf {
    host.data.join("state.db")
}

/// Below it lie the directories of sandboxes.
pub(crate) fn sandboxes(host: &Host) -> PathBuf {
    host.data.join("sandboxes")
}

/// Makes the data directory (0700) or makes sure that it is ours alone.
///
/// # Errors
/// [`Kind::Denied`] when it belongs to another user.
pub(crate) fn ensure(host: &Host) -> Result<()> {
    private(&host.data, host.uid)?;
    private(&sandboxes(host), host.uid)
}

fn private(path: &Path, uid: u32) -> Result<()> {
    let fail = |e| Error::io(format!("cannot make the directory '{}'", path.display()), e);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
    let found = fs::metadata(path).map_err(fail)?;
    if found.uid() != uid {
        return Err(Error::new(
            Kind::Denied,
            format!("the data directory '{}' belongs to user {}, not to {uid}", path.display(), found.uid()),
        )
        .with_hint(format!(
            "give it back with 'chown -R {uid} {}', or choose another data directory",
            path.display()
        )));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail)?;
    }
    Ok(())
}

/// The directory of one sandbox and the locks in it.
///
/// [`SandboxDir::operations`] is held from the making of the directory to its removal by whoever makes or removes the
/// sandbox, and the record is there for less long than the directory. So a directory without a record that nobody holds
/// is what a crash left, however young it is.
#[derive(Debug, Clone)]
pub(crate) struct SandboxDir {
    pub(crate) path: PathBuf,
}

impl SandboxDir {
    pub(crate) fn of(host: &Host, id: SandboxId) -> Self {
        Self { path: host.sandbox_dir(id) }
    }

    /// Makes it; that it is there already is no error.
    pub(crate) fn make(&self) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(Error::io(format!("cannot make the directory '{}'", self.path.display()), e)),
        }
    }

    /// Removes it and what is left in it. Links are removed, not followed.
    pub(crate) fn remove(&self) -> Result<()> {
        let failed = |e| Error::io(format!("cannot remove the directory '{}'", self.path.display()), e);
        remove_tree(&self.path).map_err(|errno| failed(errno.into()))
    }

    /// Held by whoever changes the sandbox: creates, starts, stops or removes it.
    pub(crate) fn operations(&self) -> PathBuf {
        self.path.join("op.lock")
    }

    /// Held by its keeper: the fact that it runs.
    pub(crate) fn keeping(&self) -> PathBuf {
        self.path.join("keeper.lock")
    }

    /// Makes it and takes [`SandboxDir::operations`], which makes it somebody's. For an id that nobody else has: only a
    /// gc that took the directory for a leftover can hold the lock, for a moment, hence no thread to wait on.
    pub(crate) fn found(&self) -> Result<Lock> {
        loop {
            self.make()?;
            // None: it was taken for a leftover between the two steps, and is gone again.
            if let Some(lock) = Lock::block(&self.operations())? {
                return Ok(lock);
            }
        }
    }

    /// Takes [`SandboxDir::operations`] or waits for it; `None` when there is no directory.
    pub(crate) async fn lock(&self, what: &str) -> Result<Option<Lock>> {
        Lock::wait(&self.operations(), what).await
    }

    /// Takes [`SandboxDir::operations`] unless somebody is at work on the sandbox.
    pub(crate) fn try_lock(&self) -> Result<Reached> {
        Lock::reach(&self.operations())
    }

    /// Removes what is in it, apart from the lock that the caller holds.
    pub(crate) fn clear(&self) -> Result<()> {
        let fail = |e| Error::io(format!("cannot clear the directory '{}'", self.path.display()), e);
        let entries = match fs::read_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(fail)?,
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            if entry.path() == self.operations() {
                continue;
            }
            let directory = entry.file_type().map_err(fail)?.is_dir();
            let removed = match directory {
                true => remove_tree(&entry.path()).map_err(io::Error::from),
                false => fs::remove_file(entry.path()),
            };
            removed.map_err(fail)?;
        }
        Ok(())
    }

    /// Whether the sandbox has a keeper.
    pub(crate) fn is_kept(&self) -> Result<bool> {
        lock::is_held(&self.keeping())
    }
}

/// Every sandbox that has a directory, with a record or without.
pub(crate) fn all(host: &Host) -> Result<Vec<SandboxId>> {
    let root = sandboxes(host);
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("cannot list '{}'", root.display()), e)),
    };
    let id = |entry: fs::DirEntry| SandboxId::parse(entry.file_name().to_str()?).ok();
    Ok(entries.filter_map(io::Result::ok).filter_map(id).collect())
}
