//! What a sandbox of this driver has on this machine, beside its container.

use agentkernel_archive::remove_tree;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result, id::SandboxId};
use rustix::{
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, DirBuilder},
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

/// The label of everything that belongs to one data directory.
pub(crate) const OWNER_LABEL: &str = "sh.agentkernel.owner";

/// Where a machine says which one it is (machine-id(5)), and where it did before.
#[cfg(target_os = "linux")]
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The directory of one sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// In the directory that the engine made for it.
    pub(crate) fn named(host: &Host, id: SandboxId) -> Self {
        Self(host.sandbox_dir(id).join("container"))
    }

    /// A new ephemeral one's, held: it gets its name when it is, so no sweep finds it in between.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn begin(host: &Host, id: SandboxId) -> Result<(Self, OwnedFd)> {
        let (fresh, place) = (Self(runs(host).join(format!(".{id}"))), Self::ephemeral(host, id));
        fresh.make()?;
        let lock = fresh.hold()?;
        let named = fs::rename(&fresh.0, &place.0);
        named.map_err(|e| Error::io(format!("cannot make {}", place.0.display()), e))?;
        Ok((place, lock))
    }

    /// An ephemeral one's.
    pub(crate) fn ephemeral(host: &Host, id: SandboxId) -> Self {
        Self(runs(host).join(id.to_string()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the agent reports; mounted inside.
    pub(crate) fn keeper(&self) -> PathBuf {
        self.0.join("keeper")
    }

    /// Files that are mounted one by one.
    pub(crate) fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    /// What is written above directory number `index` of the host.
    pub(crate) fn overlay(&self, index: usize) -> PathBuf {
        self.0.join("overlays").join(index.to_string())
    }

    /// # Errors
    /// When it cannot be made.
    pub(crate) fn make(&self) -> Result<()> {
        for dir in [self.0.clone(), self.keeper(), self.files()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|e| Error::io(format!("cannot make {}", dir.display()), e))?;
        }
        // Root of the container may be another user than its owner here.
        for dir in [self.keeper(), self.files()] {
            let opened = fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755));
            opened.map_err(|e| Error::io(format!("cannot open {}", dir.display()), e))?;
        }
        Ok(())
    }

    /// Removing what does not exist succeeds. What a sandbox wrote may be much and deep: other work goes on meanwhile.
    ///
    /// # Errors
    /// When something is left.
    pub(crate) async fn remove(&self) -> Result<()> {
        let path = self.0.clone();
        let removed = tokio::task::spawn_blocking(move || remove_tree(&path)).await;
        let removed = removed.map_err(|e| Error::internal("a removal ended early").with_source(e))?;
        removed.map_err(|e| Error::io(format!("cannot remove {}", self.0.display()), e.into()))
    }

    /// Says that somebody works with it for as long as the value lives.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when somebody else does.
    pub(crate) fn hold(&self) -> Result<OwnedFd> {
        let path = self.0.join("lock");
        let failed = |errno: Errno| Error::io(format!("cannot lock {}", path.display()), errno.into());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(Errno::WOULDBLOCK) => {
                Err(Error::new(Kind::Conflict, format!("{} is in use", self.0.display())))
            }
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// Says for good that something was made in the engine `name`, before it is made.
///
/// # Errors
/// When that cannot be written down.
pub(crate) fn note_use(host: &Host, name: &str) -> Result<()> {
    let path = used(host, name);
    let written = match path.exists() {
        true => Ok(()),
        false => fs::create_dir_all(host.data.join("engines")).and_then(|()| fs::write(&path, "")),
    };
    written.map_err(|e| Error::io(format!("cannot write {}", path.display()), e))
}

/// Whether anything of this data directory can be in the engine `name`: if not, nobody need ask it.
pub(crate) fn was_used(host: &Host, name: &str) -> bool {
    used(host, name).exists()
}

fn used(host: &Host, name: &str) -> PathBuf {
    host.data.join("engines").join(format!("{name}.used"))
}

fn runs(host: &Host) -> PathBuf {
    host.data.join("containers")
}

/// Ephemeral sandboxes whose processes are dead: nobody holds their directories.
pub(crate) fn abandoned(host: &Host) -> Vec<(SandboxId, Place)> {
    let entries = fs::read_dir(runs(host)).into_iter().flatten().filter_map(std::result::Result::ok);
    let place = |entry: fs::DirEntry| {
        let id = SandboxId::parse(&entry.file_name().to_string_lossy()).ok()?;
        let place = Place(entry.path());
        place.hold().is_ok().then_some((id, place))
    };
    entries.filter_map(place).collect()
}

/// Marks what belongs to this data directory, on an engine that others use as well.
pub(crate) fn owner_mark(host: &Host) -> String {
    let digest = Sha256::digest(host.data.as_os_str().as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The same on an engine that other machines use as well, where the name of a directory tells nothing: it is made up once,
/// kept in the data directory, and told together with which machine this is. So a copy of the directory on another machine
/// is somebody else.
///
/// # Errors
/// When it cannot be kept.
#[cfg(target_os = "linux")]
pub(crate) fn owner_mark_elsewhere(host: &Host) -> Result<String> {
    let kept = kept_mark(&host.data.join("engines"))?;
    Ok(mark_on(&kept, machine(MACHINE_IDS.map(Path::new)).as_deref()))
}

/// The id of this machine (machine-id(5)); `None` where it has none, as in many containers.
#[cfg(target_os = "linux")]
fn machine<'a>(places: impl IntoIterator<Item = &'a Path>) -> Option<String> {
    places.into_iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned()).filter(|text| is_id(text))
    })
}

/// The id of a machine is not for others to see: hashed with what nobody else knows, it tells nothing.
#[cfg(target_os = "linux")]
fn mark_on(kept: &str, machine: Option<&str>) -> String {
    let digest = Sha256::digest(format!("{kept} {}", machine.unwrap_or_default()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(target_os = "linux")]
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What was made up for the data directory whose memory of engines is `dir`.
#[cfg(target_os = "linux")]
fn kept_mark(dir: &Path) -> Result<String> {
    use std::io::Write as _;
    let path = dir.join("owner");
    let kept = || fs::read_to_string(&path).ok().filter(|text| is_id(text));
    if let Some(mark) = kept() {
        return Ok(mark);
    }
    let failed = |e: std::io::Error| Error::io(format!("cannot write {}", path.display()), e);
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::internal("there is no randomness").with_source(e))?;
    let mark: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(dir).map_err(failed)?;
    let mut fresh = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    fresh.write_all(mark.as_bytes()).map_err(failed)?;
    match fresh.persist_noclobber(&path) {
        Ok(_) => Ok(mark),
        // Somebody else was faster.
        Err(e) => kept().ok_or_else(|| failed(e.error)),
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
