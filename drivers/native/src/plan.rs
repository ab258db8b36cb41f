//! What init will build, decided on the host side before anything is forked: no path is looked up and no policy is
//! weighed afterwards.

use crate::{
    defaults::Defaults,
    idmap::{IdMap, Need},
    network::Udp,
    walls::{Confinement, HostFiles},
    wire::Exec,
};
use agentkernel_archive::Ownership;
use agentkernel_backend::{CreateInputs, Host, Owners, Rootfs, rootfs::Layer};
use agentkernel_model::{
    Result,
    command::{ExecSpec, User},
    limits::Limits,
    mount::{Access, Workspace},
    path::GuestPath,
    policy::{EffectivePolicy, Network, RootAccess},
    spec::{Lifetime, SandboxSpec},
};
use std::{path::PathBuf, sync::Arc};

/// Everything that init needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) map: IdMap,
    pub(crate) base: Base,
    pub(crate) lifetime: Lifetime,
    pub(crate) root: RootAccess,
    pub(crate) image: Arc<Rootfs>,
    pub(crate) pieces: Vec<Piece>,
    /// Bytes of each in-memory file system.
    pub(crate) memory_bytes: u64,
    /// Whether a part of the memory is shown at [`EffectivePolicy::OWN_FILES`].
    pub(crate) own_files: bool,
    pub(crate) network: Net,
    pub(crate) limits: Limits,
    pub(crate) confinement: Confinement,
    /// Paths that Landlock lets commands write below; everything else is readable and executable.
    pub(crate) writable: Vec<String>,
    /// Without Landlock no command is started.
    pub(crate) needs_landlock: bool,
    pub(crate) defaults: Defaults,
}

/// Where the root directory itself lives.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    /// In memory, gone with the sandbox.
    Memory,
    /// On disk; `history` says whether commands of an earlier start may have changed it.
    Disk { root: PathBuf, history: History },
    /// The layers of an image, topmost first, and one of the sandbox's own that takes what is written.
    Layers { below: Vec<PathBuf>, upper: LayerStore, history: History },
}

impl Base {
    /// Nothing that a read-only root gets lasts: it is made anew at every start.
    fn new(spec: &SandboxSpec, image: &Rootfs, disk: &Disk) -> Self {
        let named = spec.lifetime == Lifetime::Named;
        match (image.layers.as_slice(), named) {
            ([], false) => Self::Memory,
            ([], true) => Self::Disk { root: disk.root.clone(), history: disk.history },
            (below, true) if spec.policy.root == RootAccess::ReadWrite => {
                let upper = LayerStore::Disk(disk.layers.join("root"));
                Self::Layers { below: below.to_vec(), upper, history: disk.history }
            }
            (below, _) => {
                Self::Layers { below: below.to_vec(), upper: LayerStore::Memory, history: History::New }
            }
        }
    }

    pub(crate) const fn history(&self) -> History {
        match self {
            Self::Memory => History::New,
            Self::Disk { history, .. } | Self::Layers { history, .. } => *history,
        }
    }
}

/// A host directory or file shown inside.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) source: PathBuf,
    pub(crate) origin: Origin,
    pub(crate) target: GuestPath,
    pub(crate) show: Show,
    pub(crate) kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    New,
    Used,
}

/// Who chose a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The image, or agentkernel itself: fixed places of this machine, and the private data directory.
    Image,
    /// A layer of the image in the private data directory, whose files must have their owners inside.
    Layer,
    /// A caller. A sandbox that can write beside the source could have put a link in its place, so none is followed, on
    /// the host or inside.
    Caller,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Directory,
    File,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Show {
    ReadOnly,
    ReadWrite,
    /// Writes go to a layer of the sandbox's own.
    Overlay(LayerStore),
}

/// Where an overlay keeps what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LayerStore {
    Memory,
    /// A directory on the host that holds `upper` and `work`.
    Disk(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Net {
    Off,
    Gateway(Udp),
}

/// Where the layers of one sandbox live on disk.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    /// The root directory of a named sandbox.
    pub(crate) root: PathBuf,
    pub(crate) history: History,
    /// Parent of the overlays' directories.
    pub(crate) layers: PathBuf,
    /// Whether overlays can keep their upper directories there.
    pub(crate) overlay_upper: OverlayUpper,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverlayUpper {
    Possible,
    /// The file system there is itself an overlay, or lacks what an upper directory needs.
    Impossible,
}

impl Plan {
    /// `user` is whom the one command of an ephemeral sandbox asks for.
    pub(crate) fn new(host: &Host, inputs: &CreateInputs, user: Option<User>, disk: &Disk) -> Result<Self> {
        let spec = inputs.admitted.spec();
        let image = Arc::clone(&inputs.rootfs.rootfs);
        let map = IdMap::choose(host.uid, host.gid, &host.login, need(spec, user, &image), Some(inputs.id));
        let base = Base::new(spec, &image, disk);
        let pieces = pieces(spec, &image, &map, disk)?;
        let shared = pieces.iter().any(|p| p.show == Show::ReadWrite);
        let host_files = if shared { HostFiles::Writable } else { HostFiles::ReadOnly };
        let confinement = Confinement {
            caps: if host_files == HostFiles::Writable && !crate::mutation::off("file-capabilities") {
                spec.policy.caps.without_setfcap()
            } else {
                spec.policy.caps
            },
            host_files,
            seccomp: spec.policy.seccomp,
            pids: spec.policy.limits.pids.map(agentkernel_model::limits::Limit::value),
            open_files: host.surroundings.open_files,
            has_groups: map.has_groups(),
            ownership: ownership(&map, host_files),
        };
        Ok(Self {
            base,
            writable: writable(spec, &pieces),
            // The binary on the host belongs to a user's own sandbox as well: /proc/self/exe would lead to it.
            needs_landlock: map.is_users(),
            lifetime: spec.lifetime,
            root: spec.policy.root,
            pieces,
            memory_bytes: memory_bytes(&spec.policy.limits),
            own_files: spec.policy.has_own_files(),
            network: match &spec.policy.network {
                Network::Off => Net::Off,
                Network::Rules(rules) => Net::Gateway(Udp::of(rules)),
                Network::Open => Net::Gateway(Udp::Rejected),
            },
            limits: spec.policy.limits.clone(),
            confinement,
            defaults: Defaults::of(spec, &image)?,
            map,
            image,
        })
    }

    /// As if `map` had been chosen: files on disk belong to the ids of the map that they were written under.
    pub(crate) fn keep_map(&mut self, map: IdMap) {
        self.confinement.has_groups = map.has_groups();
        self.confinement.ownership = ownership(&map, self.confinement.host_files);
        self.map = map;
    }

    /// The command `spec` in this sandbox, with every default filled in.
    pub(crate) fn command(&self, spec: &ExecSpec) -> Exec {
        self.defaults.command(spec)
    }
}

/// Sandboxes that live on get ranges where there are any, because a later `exec` may ask for another user.
fn need(spec: &SandboxSpec, user: Option<User>, image: &Rootfs) -> Need {
    let other_user = user.or(spec.user).or(image.defaults.user).is_some_and(|u| !u.is_root());
    if other_user || image.owners == Owners::Many || spec.lifetime == Lifetime::Named {
        Need::Many
    } else {
        Need::One
    }
}

/// An overlay over the host's files is of use only where their owners are translated: else they belong to nobody inside,
/// and even root inside may not change them.
fn pieces(spec: &SandboxSpec, image: &Rootfs, map: &IdMap, disk: &Disk) -> Result<Vec<Piece>> {
    let named = spec.lifetime == Lifetime::Named;
    let mut pieces = Vec::new();
    for (index, graft) in image.grafts.iter().enumerate() {
        let kind = if graft.source.is_dir() { PieceKind::Directory } else { PieceKind::File };
        let copy_on_write = graft.layer == Layer::CopyOnWrite
            && matches!(map, IdMap::Shifted { .. })
            && spec.policy.root == RootAccess::ReadWrite
            && kind == PieceKind::Directory;
        let store = if named {
            LayerStore::Disk(disk.layers.join(format!("graft{index}")))
        } else {
            LayerStore::Memory
        };
        let show = if copy_on_write { Show::Overlay(store) } else { Show::ReadOnly };
        let (source, target) = (graft.source.clone(), graft.target.clone());
        pieces.push(Piece { source, target, show, kind, origin: Origin::Image });
    }
    if crate::mutation::off("allow-list") {
        for path in ["/etc", "/home", "/root", "/run", "/var"] {
            let (source, target) = (PathBuf::from(path), path.parse()?);
            pieces.push(Piece {
                source,
                target,
                show: Show::ReadOnly,
                kind: PieceKind::Directory,
                origin: Origin::Image,
            });
        }
    }
    let workspace: GuestPath = "/workspace".parse()?;
    let directory = |source: &PathBuf, show| Piece {
        source: source.clone(),
        target: workspace.clone(),
        show,
        kind: PieceKind::Directory,
        origin: Origin::Caller,
    };
    match &spec.workspace {
        Workspace::None => {}
        Workspace::View(source) if crate::mutation::off("workspace-view") => {
            pieces.push(directory(source, Show::ReadWrite));
        }
        Workspace::View(source) => {
            let disk_possible = disk.overlay_upper == OverlayUpper::Possible;
            let store = if disk_possible {
                LayerStore::Disk(disk.layers.join("workspace"))
            } else {
                LayerStore::Memory
            };
            pieces.push(directory(source, Show::Overlay(store)));
        }
        Workspace::Direct { source, access } => pieces.push(directory(source, show(*access))),
    }
    for mount in &spec.policy.mounts {
        let kind = if mount.source.is_dir() { PieceKind::Directory } else { PieceKind::File };
        let (source, target) = (mount.source.clone(), mount.target.clone());
        pieces.push(Piece { source, target, show: show(mount.access), kind, origin: Origin::Caller });
    }
    Ok(pieces)
}

const fn show(access: Access) -> Show {
    match access {
        Access::ReadOnly => Show::ReadOnly,
        Access::ReadWrite => Show::ReadWrite,
    }
}

fn writable(spec: &SandboxSpec, pieces: &[Piece]) -> Vec<String> {
    if spec.policy.root == RootAccess::ReadWrite {
        return vec!["/".to_owned()];
    }
    let mut writable = vec!["/tmp".to_owned(), "/dev".to_owned()];
    // In memory, and the sandbox's own: whoever puts files there from outside stands behind the same walls.
    writable.extend(spec.policy.has_own_files().then(|| EffectivePolicy::OWN_FILES.to_owned()));
    writable.extend(pieces.iter().filter(|p| p.show != Show::ReadOnly).map(|p| p.target.to_string()));
    writable
}

/// In-memory file systems are bounded by the memory limit, which their pages count against where it is enforced; without
/// a limit by a quarter of the machine's memory, so that none of them can fill it.
fn memory_bytes(limits: &Limits) -> u64 {
    let info = rustix::system::sysinfo();
    let machine = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let quarter = (machine / 4).max(64 << 20);
    limits.memory.map_or(quarter, |limit| limit.value().bytes().min(quarter))
}

/// Where others see the files, none may make its reader somebody else.
fn ownership(map: &IdMap, host_files: HostFiles) -> Ownership {
    match (map.has(User::MAX_ID), host_files) {
        (false, _) => Ownership::Caller,
        (true, HostFiles::Writable) => Ownership::ArchivePlain,
        (true, HostFiles::ReadOnly) => Ownership::Archive,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
