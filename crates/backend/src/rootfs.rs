//! A root file system as `image` hands it to a driver.

use agentkernel_model::{command::User, path::GuestPath};
use std::{any::Any, fmt, path::PathBuf, sync::Arc};

/// A root file system and the promise that it stays on disk while this value lives.
#[derive(Clone)]
pub struct Lease {
    pub rootfs: Arc<Rootfs>,
    guard: Option<Arc<dyn Any + Send + Sync>>,
}

impl Lease {
    /// A root that nothing can take away, such as the host image.
    #[must_use]
    pub fn unguarded(rootfs: Rootfs) -> Self {
        Self { rootfs: Arc::new(rootfs), guard: None }
    }

    /// A root that is kept while `guard` lives.
    #[must_use]
    pub fn guarded(rootfs: Rootfs, guard: Arc<dyn Any + Send + Sync>) -> Self {
        Self { rootfs: Arc::new(rootfs), guard: Some(guard) }
    }

    /// The same root with `files` added.
    #[must_use]
    pub fn with_files(mut self, files: impl IntoIterator<Item = GeneratedFile>) -> Self {
        let mut files = files.into_iter().peekable();
        if files.peek().is_some() {
            Arc::make_mut(&mut self.rootfs).files.extend(files);
        }
        self
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("rootfs", &self.rootfs).field("guarded", &self.guard.is_some()).finish()
    }
}

/// What the root of a sandbox consists of. The driver makes an empty root, puts `layers` under it where there are any,
/// then directories of the host, links and generated files, in this order. Layers come from an image and are hostile:
/// what they hold may be a symbolic link at any path.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// The identity of the image: `host`, or the config digest of an OCI image.
    pub identity: String,
    /// Unpacked layers on the host, topmost first; empty for `host`. What a layer removes from those below it is marked
    /// as overlayfs with `userxattr` does: a character device 0:0, and the attribute `user.overlay.opaque` set to `y`.
    /// As root, files have the owners that they have inside; as a user, all are the user's.
    pub layers: Vec<PathBuf>,
    /// Host directories and files shown inside: read-only and nosuid, writes going to the sandbox's own layer where the
    /// policy has a writable root.
    pub grafts: Vec<Graft>,
    /// Symbolic links: where, and what they say.
    pub links: Vec<(GuestPath, String)>,
    /// Directories, with their mode.
    pub directories: Vec<(GuestPath, u32)>,
    pub files: Vec<GeneratedFile>,
    /// The environment of every command, `KEY=VALUE` pairs; PATH among them.
    pub env: Vec<(String, String)>,
    pub defaults: ImageDefaults,
    pub owners: Owners,
}

/// What the image says about its commands, where nobody else says anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    pub workdir: Option<GuestPath>,
    /// Resolved against the image's own user table.
    pub user: Option<User>,
    /// Words before those of a run's command. Commands of a running sandbox go without.
    pub entrypoint: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Graft {
    /// Absolute path on the host, a directory or a regular file.
    pub source: PathBuf,
    pub target: GuestPath,
    pub layer: Layer,
}

/// Whether a graft takes part in the sandbox's writable layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Read-only in every profile.
    ReadOnly,
    /// Writable through a layer of the sandbox's own where the policy has a writable root. Directories only.
    CopyOnWrite,
}

#[derive(Debug, Clone)]
pub struct GeneratedFile {
    pub target: GuestPath,
    pub mode: u32,
    pub content: Vec<u8>,
}

/// Whether files of the root belong to more than one user, so that one mapped id is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    Single,
    Many,
}
