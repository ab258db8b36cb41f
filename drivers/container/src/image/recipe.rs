//! What an image is made of, and the name that follows from it.

use super::{LABEL, OWNER_LABEL, packed::PackedLayer, skeleton};
use agentkernel_archive::LayerOwners;
use agentkernel_backend::Rootfs;
use agentkernel_model::{Result, image::Digest};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Raised when the same layers make another image than before.
const FORMAT: u32 = 1;

/// What an image's labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Tells its content.
    pub(super) hash: String,
    /// Whose it is, in an engine that other machines use as well.
    pub(super) owner: Option<String>,
}

impl Mark {
    pub(super) fn labels(&self) -> BTreeMap<&'static str, &str> {
        let owner = self.owner.as_deref().map(|owner| (OWNER_LABEL, owner));
        std::iter::once((LABEL, self.hash.as_str())).chain(owner).collect()
    }
}

/// A root file system whose content is known.
#[derive(Debug)]
pub(super) struct Recipe {
    mark: Mark,
    owners: LayerOwners,
    skeleton: Vec<u8>,
    /// Lowest first.
    layers: Vec<Layer>,
}

#[derive(Debug)]
enum Layer {
    /// Of the image store, whose directories are named by what is in them.
    Stored(PathBuf, Digest),
    /// Anybody's directory.
    Packed(PackedLayer),
}

/// The id of the engine's image that has the same root file system, should it have one: an image's id is the digest of
/// its configuration, which names its layers.
pub(super) fn original(rootfs: &Rootfs) -> Option<String> {
    let bare = rootfs.grafts.is_empty() && rootfs.links.is_empty() && rootfs.directories.is_empty();
    let id: Digest = rootfs.identity.parse().ok()?;
    (bare && !rootfs.layers.is_empty()).then(|| id.to_string())
}

impl Recipe {
    /// Layers whose names do not tell their content are read, and packed in `scratch`. Each `owner` has an image of its own:
    /// what one removes is no other's.
    pub(super) fn of(rootfs: &Rootfs, owner: Option<&str>, scratch: &Path) -> Result<Self> {
        // As an ordinary user, all that was unpacked is the user's.
        let is_root = rustix::process::geteuid().is_root();
        let owners = if is_root { LayerOwners::Kept } else { LayerOwners::Root };
        let layers = rootfs.layers.iter().rev();
        let layers: Vec<Layer> =
            layers.map(|path| Layer::at(path, owners, scratch)).collect::<Result<_>>()?;
        let skeleton = skeleton::Plan::of(rootfs).pack()?;
        let mut content = json!({
            "format": FORMAT,
            "image": rootfs.identity,
            "owners": match owners {
                LayerOwners::Kept => "kept",
                LayerOwners::Root => "root",
            },
            "layers": layers.iter().map(Layer::name).collect::<Vec<_>>(),
            "skeleton": digest(&skeleton).as_str(),
        });
        if let Some(owner) = owner {
            content["owner"] = owner.into();
        }
        let hash = digest(content.to_string().as_bytes()).hex().to_owned();
        let mark = Mark { hash, owner: owner.map(str::to_owned) };
        Ok(Self { mark, owners, skeleton, layers })
    }

    pub(super) fn hash(&self) -> &str {
        &self.mark.hash
    }

    /// The layers, lowest first. The lowest one holds what the root has besides its layers: so that those win where they
    /// have something, as in the other drivers.
    pub(super) fn pack(self, scratch: &Path) -> Result<(Mark, Vec<PackedLayer>)> {
        let mut packed = Vec::with_capacity(self.layers.len() + 1);
        // An image without any layer is one that some engines refuse.
        if !skeleton::is_empty(&self.skeleton) || self.layers.is_empty() {
            packed.push(PackedLayer::from_bytes(&self.skeleton, scratch)?);
        }
        for layer in self.layers {
            packed.push(match layer {
                Layer::Packed(packed) => packed,
                Layer::Stored(path, _) => PackedLayer::of(&path, self.owners, scratch)?,
            });
        }
        Ok((self.mark, packed))
    }
}

impl Layer {
    /// A layer of the store lies in `HEX/tree`.
    fn at(path: &Path, owners: LayerOwners, scratch: &Path) -> Result<Self> {
        let parent = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let digest = parent.and_then(|hex| format!("sha256:{hex}").parse().ok());
        match (digest, path.file_name().is_some_and(|name| name == "tree")) {
            (Some(digest), true) => Ok(Self::Stored(path.to_owned(), digest)),
            _ => PackedLayer::of(path, owners, scratch).map(Self::Packed),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stored(_, digest) => format!("stored {digest}"),
            Self::Packed(packed) => format!("packed {}", packed.digest()),
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::of_sha256(&Sha256::digest(bytes).into())
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
