//! Builds the sandbox's root and leaves the host's: runs in init, alone in its new mount namespace.

use crate::{
    devices, kernelfs, layers,
    mounts::{Place, Step, Trust, clone_mount, make_directory, mount_at, new_filesystem, tmpfs},
    plan::{Base, History, LayerStore, Origin, Piece, PieceKind, Plan, Show},
    skeleton::{self, Ground},
    sources::Sources,
    sys::{Depth, MOUNT_RDONLY, MountAttr, mount_setattr},
    wire::Fault,
};
use agentkernel_model::{
    policy::{EffectivePolicy, RootAccess},
    spec::Lifetime,
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::Mode,
    mount::{MountAttrFlags, UnmountFlags},
};
use std::collections::VecDeque;

/// A directory that every root has and that is covered last: until then, detached trees can be looked at there.
const SCRATCH: &str = "/proc";

/// Everything of the sandbox that lives in memory: one file system with one bound for all of it, shown in pieces.
#[derive(Debug)]
struct Memory {
    root: Option<OwnedFd>,
    dev: OwnedFd,
    shm: OwnedFd,
    tmp: OwnedFd,
    /// For [`EffectivePolicy::OWN_FILES`].
    own: Option<OwnedFd>,
    empty: OwnedFd,
    /// For the overlays, in the order of the plan.
    layers: VecDeque<OwnedFd>,
}

/// What can only be had while the host's /proc and /dev are visible.
#[derive(Debug)]
pub(crate) struct Materials {
    kernel: kernelfs::KernelFs,
    devices: devices::Devices,
}

impl Materials {
    pub(crate) fn open() -> Result<Self, Fault> {
        Ok(Self { kernel: kernelfs::open()?, devices: devices::open()? })
    }
}

/// Leaves init in a root of its own at `/`, complete. `sources` was opened for this very plan.
pub(crate) fn build(plan: &Plan, sources: &mut Sources, materials: Materials) -> Result<(), Fault> {
    let mut memory = Memory::open(plan)?;
    let root = match (&plan.base, memory.root.take()) {
        (_, Some(root)) => root,
        (Base::Layers { below, upper, .. }, None) => layers::stack(below, upper, sources, SCRATCH)?,
        (Base::Memory | Base::Disk { .. }, None) => sources.take()?,
    };
    enter(&root)?;
    let (trust, ground) = match &plan.base {
        Base::Memory => (Trust::Fresh, Ground::Empty),
        Base::Disk { .. } => (Trust::Written, Ground::Empty),
        Base::Layers { .. } => (Trust::Written, Ground::Layers),
    };
    if plan.base.history() == History::New {
        skeleton::lay(&plan.image, ground)?;
    }
    if ground == Ground::Layers {
        skeleton::make_workdir(plan.defaults.workdir.as_str());
    }
    make_directory(SCRATCH, 0o555).step(|| "make /proc".to_owned())?;
    for piece in &plan.pieces {
        let tree = sources.take()?;
        let layer = match &piece.show {
            Show::Overlay(LayerStore::Disk(_)) => Some(sources.take()?),
            Show::Overlay(LayerStore::Memory) => memory.layers.pop_front(),
            Show::ReadOnly | Show::ReadWrite => None,
        };
        let trust = if piece.origin == Origin::Caller { Trust::Written } else { trust };
        place(piece, &tree, layer, trust, plan.lifetime)?;
    }
    materials.devices.mount(&memory.dev, &memory.shm, trust)?;
    materials.kernel.mount(&memory.empty, trust)?;
    mount_at(memory.tmp.as_fd(), "/tmp", Place::Directory, trust).step(|| "mount /tmp".to_owned())?;
    if let Some(own) = &memory.own {
        let path = EffectivePolicy::OWN_FILES;
        mount_at(own.as_fd(), path, Place::Directory, trust).step(|| format!("mount {path}"))?;
    }
    if plan.root == RootAccess::ReadOnly && !crate::mutation::off("read-only-root") {
        let attr = MountAttr { set: MOUNT_RDONLY, ..MountAttr::default() };
        mount_setattr(root.as_fd(), Depth::Top, &attr).step(|| "make the root read-only".to_owned())?;
    }
    Ok(())
}

impl Memory {
    fn open(plan: &Plan) -> Result<Self, Fault> {
        let what = || "make the sandbox's memory file system".to_owned();
        let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        // A size of 0 is no bound.
        let bytes = if crate::mutation::off("memory-bound") { 0 } else { plan.memory_bytes };
        let all = tmpfs(bytes, "755", plain).step(what)?;
        mount_at(all.as_fd(), SCRATCH, Place::Directory, Trust::Fresh).step(what)?;
        let part = |name: &str, mode: u32| {
            let path = format!("{SCRATCH}/{name}");
            make_directory(&path, mode).and_then(|()| clone_mount(&path)).step(what)
        };
        let mut layers = VecDeque::new();
        let in_memory = |piece: &&Piece| piece.show == Show::Overlay(LayerStore::Memory);
        for index in 0..plan.pieces.iter().filter(in_memory).count() {
            let name = format!("layer{index}");
            let layer = part(&name, 0o755)?;
            for half in ["upper", "work"] {
                rustix::fs::mkdirat(&layer, half, Mode::from_raw_mode(0o755)).step(what)?;
            }
            layers.push_back(layer);
        }
        let root = match &plan.base {
            Base::Memory => Some(part("root", 0o755)?),
            Base::Disk { .. } | Base::Layers { .. } => None,
        };
        Ok(Self {
            root,
            dev: part("dev", 0o755)?,
            shm: part("shm", 0o1777)?,
            tmp: part("tmp", 0o1777)?,
            own: plan.own_files.then(|| part("own", 0o755)).transpose()?,
            empty: part("empty", 0o555)?,
            layers,
        })
    }
}

/// Pivots into `root`; the host's mounts are gone afterwards.
fn enter(root: &OwnedFd) -> Result<(), Fault> {
    mount_at(root.as_fd(), SCRATCH, Place::Directory, Trust::Fresh).step(|| "mount the root".to_owned())?;
    rustix::process::fchdir(root).step(|| "enter the root".to_owned())?;
    if crate::mutation::off("pivot-root") {
        return rustix::process::chroot(".").step(|| "change the root".to_owned());
    }
    rustix::process::pivot_root(".", ".").step(|| "pivot into the root".to_owned())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step(|| "leave the host's root".to_owned())?;
    rustix::process::chdir("/").step(|| "enter the root".to_owned())
}

fn place(
    piece: &Piece,
    tree: &OwnedFd,
    layer: Option<OwnedFd>,
    trust: Trust,
    lifetime: Lifetime,
) -> Result<(), Fault> {
    let target = piece.target.as_str();
    let kind = match piece.kind {
        PieceKind::Directory => Place::Directory,
        PieceKind::File => Place::File,
    };
    let mounted = mount_at(tree.as_fd(), target, kind, trust);
    mounted.step(|| format!("mount {} on {target}", piece.source.display()))?;
    match (&piece.show, layer) {
        (Show::Overlay(_), Some(layer)) => overlay(target, layer.as_fd(), trust, lifetime),
        _ => Ok(()),
    }
}

/// Covers `target` with an overlay of itself and `layer`. Extended attributes of the overlay are `user.overlay.*`,
/// which need no privilege, for root and for users alike: one format on disk.
fn overlay(target: &str, layer: BorrowedFd<'_>, trust: Trust, lifetime: Lifetime) -> Result<(), Fault> {
    let what = || format!("make {target} writable");
    mount_at(layer, SCRATCH, Place::Directory, trust).step(what)?;
    let upper = format!("{SCRATCH}/upper");
    let work = format!("{SCRATCH}/work");
    let escape = |c: char| matches!(c, ':' | '\\').then_some('\\').into_iter().chain([c]);
    let lower: String = target.chars().flat_map(escape).collect();
    let options = [("source", "agentkernel"), ("lowerdir", &lower), ("upperdir", &upper), ("workdir", &work)];
    // A layer that is thrown away need not reach the disk when it is unmounted.
    let flags: &[&str] = match lifetime {
        Lifetime::Ephemeral => &["userxattr", "volatile"],
        Lifetime::Named => &["userxattr"],
    };
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let made = new_filesystem("overlay", &options, flags, plain).step(what)?;
    rustix::mount::unmount(SCRATCH, UnmountFlags::DETACH).step(what)?;
    mount_at(made.as_fd(), target, Place::Directory, trust).step(what)
}
