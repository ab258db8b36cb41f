//! What the store knows of images and names, as small JSON files. An image's record is written when all its parts are
//! here, a name's when its image's is.

use crate::{disk, layout::Layout, lock::Lock, platform::Platform};
use agentkernel_model::{
    Error, Kind, Result,
    command::{EnvVar, User},
    image::{Digest, Reference},
    path::GuestPath,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::path::Path;

/// A name takes little; an image's record has its environment and words.
const MAX_NAME: u64 = 64 << 10;
const MAX_IMAGE: u64 = 16 << 20;
const VERSION: u32 = 1;

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Name {
    version: u32,
    pub(crate) reference: Reference,
    pub(crate) image: Digest,
    /// What the registry has under this name: a manifest or an index. `None` for images that came as a file.
    pub(crate) manifest: Option<Digest>,
    /// Milliseconds since 1970.
    pub(crate) pulled_at: i64,
}

/// An image, ready to run: its configuration, checked and resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) platform: Platform,
    /// The manifest for this platform, kept in `manifests`.
    pub(crate) manifest: Option<Digest>,
    /// Diff ids, lowest first.
    pub(crate) layers: Vec<Digest>,
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    pub(crate) env: Vec<EnvVar>,
    pub(crate) workdir: Option<GuestPath>,
    /// `None` when the image names none.
    pub(crate) user: Option<User>,
    pub(crate) home: GuestPath,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) created: Option<String>,
    /// Milliseconds since 1970.
    pub(crate) stored_at: i64,
}

impl Name {
    pub(crate) const fn new(
        reference: Reference,
        image: Digest,
        manifest: Option<Digest>,
        pulled_at: i64,
    ) -> Self {
        Self { version: VERSION, reference, image, manifest, pulled_at }
    }

    /// # Errors
    /// When the record is broken.
    pub(crate) fn read(layout: &Layout, reference: &Reference) -> Result<Option<Self>> {
        let path = layout.name(reference);
        let name: Option<Self> = read(&path, MAX_NAME)?;
        match name {
            Some(name) if name.reference != *reference => Err(broken(&path)),
            name => Ok(name),
        }
    }

    /// Every name, and the files among them that are none.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for names of a newer agentkernel, which are not ours to judge.
    pub(crate) fn all(layout: &Layout) -> Result<(Vec<Self>, Vec<String>)> {
        let (mut names, mut broken) = (Vec::new(), Vec::new());
        for file in disk::names(&layout.names())? {
            if file.starts_with('.') {
                continue;
            }
            match read::<Self>(&layout.names().join(&file), MAX_NAME) {
                Ok(Some(name)) if layout.name(&name.reference).ends_with(&file) => names.push(name),
                // Removed meanwhile.
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Unsupported => return Err(error),
                _ => broken.push(file),
            }
        }
        Ok((names, broken))
    }
}

impl Record {
    pub(crate) const VERSION: u32 = VERSION;

    /// # Errors
    /// [`Kind::Unsupported`] when a newer agentkernel wrote the record, [`Kind::Internal`] when it is broken.
    pub(crate) fn read(layout: &Layout, id: &Digest) -> Result<Option<Self>> {
        read(&layout.image(id), MAX_IMAGE)
    }
}

/// The lock of who writes names and images.
pub(crate) fn lock(layout: &Layout) -> Result<Lock> {
    Lock::exclusive(&layout.records())
}

/// Writes a record; the lock is proof that nobody else does.
pub(crate) fn write<T: Serialize>(_lock: &Lock, path: &Path, record: &T) -> Result<()> {
    let text = serde_json::to_vec(record).map_err(|e| Error::internal(e.to_string()))?;
    disk::replace(path, &text)
}

fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>> {
    let Some(text) = disk::read(path, limit)? else { return Ok(None) };
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match serde_json::from_slice::<Version>(&text) {
        Ok(found) if found.version > VERSION => {
            let message = format!("'{}' was written by a newer agentkernel", path.display());
            return Err(Error::new(Kind::Unsupported, message)
                .with_hint("update this one, or use another data directory"));
        }
        Ok(_) => {}
        Err(_) => return Err(broken(path)),
    }
    serde_json::from_slice(&text).map(Some).map_err(|_| broken(path))
}

fn broken(path: &Path) -> Error {
    Error::internal(format!("'{}' is broken", path.display()))
        .with_hint("mend the store: agentkernel images local-sync")
}
