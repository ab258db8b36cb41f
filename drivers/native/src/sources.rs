//! Everything a sandbox's root is made from, opened before the host's files are left behind: detached mount trees.
//!
//! As root these are opened by the host side, which alone may translate owners (an idmapped mount); as a user by init
//! itself, inside its own user namespace.

use crate::{
    idmap::IdMap,
    mounts::{Step, clone_tree},
    plan::{Base, LayerStore, Origin, Plan, Show},
    sys::{MOUNT_NODEV, MOUNT_NOSUID, MOUNT_RDONLY},
    wire::Fault,
};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::{
    collections::VecDeque,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Detached trees in the order in which [`Sources::open`] went through the plan, which is the order in which init takes
/// them again.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) trees: VecDeque<OwnedFd>,
}

impl Sources {
    /// `userns` translates the owners of the host's files. Layers of the sandbox's own are not translated: they hold
    /// the ids of the sandbox as the host sees them.
    pub(crate) fn open(plan: &Plan, userns: Option<BorrowedFd<'_>>) -> Result<Self, Fault> {
        let mut trees = VecDeque::new();
        if let Base::Disk { root, .. } = &plan.base {
            let tree = clone_tree(root, Origin::Image, MOUNT_NOSUID | MOUNT_NODEV, None);
            trees.push_back(tree.step(|| format!("open the root directory {}", root.display()))?);
        }
        if let Base::Layers { below, upper, .. } = &plan.base {
            for layer in below {
                let flags = MOUNT_RDONLY | MOUNT_NOSUID | MOUNT_NODEV;
                let tree = clone_tree(layer, Origin::Layer, flags, userns);
                trees.push_back(tree.step(|| format!("show the layer {} with its owners", layer.display()))?);
            }
            if let LayerStore::Disk(layer) = upper {
                let tree = clone_tree(layer, Origin::Image, MOUNT_NOSUID | MOUNT_NODEV, None);
                trees.push_back(tree.step(|| format!("open the layer {}", layer.display()))?);
            }
        }
        for piece in &plan.pieces {
            let read_only = if piece.show == Show::ReadWrite { 0 } else { MOUNT_RDONLY };
            let nosuid = if crate::mutation::off("nosuid") { 0 } else { MOUNT_NOSUID };
            let read_only = if crate::mutation::off("read-only-grafts") { 0 } else { read_only };
            let nodev = if crate::mutation::off("nodev") { 0 } else { MOUNT_NODEV };
            let tree = clone_tree(&piece.source, piece.origin, read_only | nosuid | nodev, userns);
            trees.push_back(tree.step(|| format!("open {}", piece.source.display()))?);
            if let Show::Overlay(LayerStore::Disk(layer)) = &piece.show {
                let tree = clone_tree(layer, Origin::Image, MOUNT_NOSUID | MOUNT_NODEV, None);
                trees.push_back(tree.step(|| format!("open the layer {}", layer.display()))?);
            }
        }
        Ok(Self { trees })
    }

    /// The next tree; the plan says which it is.
    pub(crate) fn take(&mut self) -> Result<OwnedFd, Fault> {
        self.trees.pop_front().ok_or_else(|| Fault::new("take a mount tree", rustix::io::Errno::BADF))
    }
}

/// A directory on disk that must exist before the trees are opened.
#[derive(Debug)]
pub(crate) struct Directory<'a> {
    pub(crate) path: PathBuf,
    /// Whose owner and mode it gets: the merged directory of an overlay has those of its upper one.
    like: Option<&'a Path>,
}

impl Directory<'_> {
    /// Gives the directory its owner and mode: root inside and 0755, or those of what it covers.
    pub(crate) fn own(&self, map: &IdMap) -> io::Result<()> {
        let (mut owner, mut mode) = ((0, 0), 0o755);
        if let Some(like) = self.like {
            let meta = std::fs::symlink_metadata(like)?;
            (owner, mode) = ((meta.uid(), meta.gid()), meta.mode() & 0o1777);
        }
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(mode))?;
        // A user's own directories belong to root inside already, and to nobody else's ids may a user give them.
        let IdMap::Shifted { base } = map else { return Ok(()) };
        let inside = |id: u32| Some(base + if map.has(id) { id } else { 0 });
        std::os::unix::fs::chown(&self.path, inside(owner.0), inside(owner.1))
    }
}

/// Roots and layers of the sandbox.
pub(crate) fn directories(plan: &Plan) -> Vec<Directory<'_>> {
    let mut directories = Vec::new();
    if let Base::Disk { root, .. } = &plan.base {
        directories.push(Directory { path: root.clone(), like: None });
    }
    if let Base::Layers { upper: LayerStore::Disk(layer), .. } = &plan.base {
        directories.extend(["upper", "work"].map(|half| Directory { path: layer.join(half), like: None }));
    }
    for piece in &plan.pieces {
        if let Show::Overlay(LayerStore::Disk(layer)) = &piece.show {
            directories.push(Directory { path: layer.join("upper"), like: Some(&piece.source) });
            directories.push(Directory { path: layer.join("work"), like: None });
        }
    }
    directories
}
