//! Where things lie in the store. Nothing here touches the disk, but for [`Layout::prepare`].
//!
//! ```text
//! names/REFERENCE          what a name means: a config digest       (JSON)
//! images/HEX               an image, ready to run                    (JSON; HEX of its config digest)
//! manifests/HEX configs/HEX   as the registry sent them
//! layers/HEX/{tree,layer}  an unpacked layer and facts about it      (HEX of its diff id)
//! layers/.new-HEX .gone-HEX   on its way in and out
//! partial/HEX              a download                                (HEX of the blob's digest; locked by who writes it)
//! partial/.import-*        an unpacked archive that is imported      (locked by who imports it)
//! locks/HEX                in use: shared by leases and pulls, alone by who removes
//! locks/HEX.make           held by who makes that layer
//! locks/records            held by who writes names and images
//! ```

use crate::{digest, disk};
use agentkernel_model::{
    Result,
    image::{Digest, Reference},
};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

/// Longer names are known by their digest: a file's name may have 255 bytes.
const MAX_NAME: usize = 200;
pub(crate) const NEW: &str = ".new-";
pub(crate) const GONE: &str = ".gone-";
pub(crate) const IMPORT: &str = ".import-";
/// What the lock of a layer's maker ends with.
pub(crate) const MAKE: &str = ".make";

impl Layout {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes the directories.
    pub(crate) fn prepare(&self) -> Result<()> {
        for dir in
            [self.names(), self.images(), self.manifests(), self.configs(), self.layers(), self.partials()]
        {
            disk::make_directory(&dir)?;
        }
        disk::make_directory(&self.locks())
    }

    pub(crate) fn exists(&self) -> bool {
        self.locks().is_dir()
    }

    pub(crate) fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.dir.join("manifests")
    }

    pub(crate) fn configs(&self) -> PathBuf {
        self.dir.join("configs")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.dir.join("layers")
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.dir.join("partial")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }

    pub(crate) fn name(&self, reference: &Reference) -> PathBuf {
        self.names().join(file_name(reference))
    }

    pub(crate) fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(id.hex())
    }

    pub(crate) fn manifest(&self, digest: &Digest) -> PathBuf {
        self.manifests().join(digest.hex())
    }

    pub(crate) fn config(&self, id: &Digest) -> PathBuf {
        self.configs().join(id.hex())
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(crate) fn layer_tree(&self, diff_id: &Digest) -> PathBuf {
        self.layer(diff_id).join("tree")
    }

    pub(crate) fn new_layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{NEW}{}", diff_id.hex()))
    }

    pub(crate) fn gone_layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(format!("{GONE}{}", diff_id.hex()))
    }

    pub(crate) fn partial(&self, blob: &Digest) -> PathBuf {
        self.partials().join(blob.hex())
    }

    /// The lock of an image (its config digest) or a layer (its diff id) that is in use.
    pub(crate) fn in_use(&self, digest: &Digest) -> PathBuf {
        self.locks().join(digest.hex())
    }

    pub(crate) fn making(&self, diff_id: &Digest) -> PathBuf {
        self.locks().join(format!("{}{MAKE}", diff_id.hex()))
    }

    pub(crate) fn records(&self) -> PathBuf {
        self.locks().join("records")
    }
}

/// The digest that a file is named after, when it is one.
pub(crate) fn digest_of(hex: &str) -> Option<Digest> {
    format!("sha256:{hex}").parse().ok()
}

/// A file's name for a reference: no two references share one, because `+` and `%` are in none.
fn file_name(reference: &Reference) -> String {
    let name = reference.to_string().replace('/', "+");
    if name.len() <= MAX_NAME {
        return name;
    }
    format!("%{}", digest::of(name.as_bytes()).hex())
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
