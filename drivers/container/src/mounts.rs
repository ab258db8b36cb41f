//! What of this machine a container shows.

use crate::{
    dial::Way,
    plan::{self, AgentFiles, Materials},
};
use agentkernel_backend::{Graft, rootfs::Layer};
use agentkernel_guest::agent::{self, Road};
use agentkernel_model::{
    Error, Kind, Result,
    mount::{Access, Workspace},
    path::GuestPath,
    policy::RootAccess,
    spec::SandboxSpec,
};
use bollard::models::{
    Mount, MountBindOptions, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use std::{
    collections::HashMap,
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

/// How a directory of the host is shown without being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlays {
    /// A volume of the engine that is an overlay, whose upper directory is the sandbox's.
    Volumes,
    /// An overlay that the engine makes, whose upper directory is the sandbox's.
    Kept,
    /// An overlay that the engine makes, and throws away when the container stops.
    Thrown,
    /// A volume that the directory is copied into at the first start.
    Copied,
}

/// In the two forms that engines take mounts.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) binds: Vec<String>,
}

/// All mounts of a sandbox; makes the places that they need.
pub(crate) fn all(materials: &Materials<'_>) -> Result<Mounted> {
    let spec = materials.inputs.admitted.spec();
    let mut made = Mounted::default();
    let own = agent::DIRECTORY;
    let bin = format!("{own}/bin");
    match materials.agent_files {
        AgentFiles::Directory(directory) => made.bind(directory, &bin, Access::ReadOnly)?,
        AgentFiles::Volume(volume) => made.named_volume(volume, &bin),
    }
    if materials.road == Road::Socket {
        made.bind(&materials.place.keeper(), &format!("{own}/keeper"), Access::ReadOnly)?;
    }
    let writable = spec.policy.root == RootAccess::ReadWrite;
    for (index, graft) in materials.inputs.rootfs.rootfs.grafts.iter().enumerate() {
        let target = graft.target.as_str();
        let changes = writable && graft.layer == Layer::CopyOnWrite && graft.source.is_dir();
        match materials.overlays {
            Overlays::Volumes | Overlays::Kept if changes => {
                made.overlay(materials, &graft.source, target, index)?;
            }
            _ => made.bind(&graft.source, target, Access::ReadOnly)?,
        }
    }
    match &spec.workspace {
        Workspace::None => {}
        Workspace::View(source) => {
            made.overlay(materials, source, Workspace::TARGET, usize::MAX)?;
        }
        Workspace::Direct { source, access } => {
            made.bind(source, Workspace::TARGET, *access)?;
        }
    }
    for mount in &spec.policy.mounts {
        made.bind(&mount.source, mount.target.as_str(), mount.access)?;
    }
    if matches!(materials.agent_files, AgentFiles::Directory(_)) {
        made.files(materials, writable)?;
    }
    Ok(made)
}

/// Whether all that is to be mounted can be, on an engine that does not see this machine's files.
///
/// # Errors
/// [`Kind::Unsupported`] for an image that is made of them.
pub(crate) fn check_elsewhere(grafts: &[Graft], place: &Way) -> Result<()> {
    match grafts {
        [] => Ok(()),
        _ => Err(Error::new(
            Kind::Unsupported,
            format!(
                "the image 'host' is made of this machine's files, which the engine at {place} does not see"
            ),
        )
        .with_hint("name an image, such as --image debian:12")),
    }
}

/// Generated files that an engine elsewhere cannot be given: `None` when all can.
pub(crate) fn undeliverable(spec: &SandboxSpec) -> Option<&GuestPath> {
    let root = spec.policy.root;
    spec.files.iter().map(|file| &file.target).find(|target| is_mounted(target.as_str(), root))
}

/// Whether `path` is to be mounted, or else written by the agent.
pub(crate) fn is_mounted(path: &str, root: RootAccess) -> bool {
    root == RootAccess::ReadOnly || agent::OF_ENGINES.contains(&path)
}

impl Mounted {
    fn bind(&mut self, source: &Path, target: &str, access: Access) -> Result<()> {
        self.mounts.push(Mount {
            typ: Some(MountType::BIND),
            source: Some(text(source)?.to_owned()),
            target: Some(target.to_owned()),
            read_only: Some(access == Access::ReadOnly),
            // Engines make only the top read-only: what is mounted below would stay writable.
            bind_options: (access == Access::ReadOnly)
                .then(|| MountBindOptions { non_recursive: Some(true), ..MountBindOptions::default() }),
            ..Mount::default()
        });
        Ok(())
    }

    /// A volume that exists, read-only.
    fn named_volume(&mut self, name: &str, target: &str) {
        self.mounts.push(Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.to_owned()),
            target: Some(target.to_owned()),
            read_only: Some(true),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        });
    }

    /// The directory `source` with a layer of the sandbox's own above it.
    fn overlay(
        &mut self,
        materials: &Materials<'_>,
        source: &Path,
        target: &str,
        index: usize,
    ) -> Result<()> {
        match materials.overlays {
            Overlays::Thrown => self.binds.push(format!("{}:{target}:O", plain(materials, source, index)?)),
            Overlays::Copied => self.volume(materials, target, None),
            Overlays::Kept => {
                let lower = plain(materials, source, index)?;
                let (upper, work) = layers(materials, source, index)?;
                self.binds.push(format!("{lower}:{target}:O,upperdir={upper},workdir={work}"));
            }
            Overlays::Volumes => {
                let lower = plain(materials, source, index)?;
                let (upper, work) = layers(materials, source, index)?;
                let options = HashMap::from([
                    ("type".to_owned(), "overlay".to_owned()),
                    ("device".to_owned(), "overlay".to_owned()),
                    ("o".to_owned(), format!("lowerdir={lower},upperdir={upper},workdir={work}")),
                ]);
                self.volume(materials, target, Some(options));
            }
        }
        Ok(())
    }

    /// A volume that goes with the container; should it not, its labels tell whose it was.
    fn volume(&mut self, materials: &Materials<'_>, target: &str, options: Option<HashMap<String, String>>) {
        let driver_config = options.map(|options| MountVolumeOptionsDriverConfig {
            name: Some("local".to_owned()),
            options: Some(options),
        });
        self.mounts.push(Mount {
            typ: Some(MountType::VOLUME),
            target: Some(target.to_owned()),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                labels: Some(plan::labels(materials)),
                driver_config,
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        });
    }

    /// Generated files that the agent cannot write, or that the engine would lay its own over.
    fn files(&mut self, materials: &Materials<'_>, writable: bool) -> Result<()> {
        let (root, access) = match writable {
            true => (RootAccess::ReadWrite, Access::ReadWrite),
            false => (RootAccess::ReadOnly, Access::ReadOnly),
        };
        let files = &materials.inputs.rootfs.rootfs.files;
        for (index, file) in files.iter().enumerate() {
            if !is_mounted(file.target.as_str(), root) {
                continue;
            }
            let path = materials.place.files().join(index.to_string());
            let failed = |e| Error::io(format!("cannot write {}", path.display()), e);
            // One of an earlier try may be one that even we cannot write.
            let _nothing_there = fs::remove_file(&path);
            fs::write(&path, &file.content).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).map_err(failed)?;
            // A later file of the same name wins, as everywhere.
            self.mounts.retain(|mount| mount.target.as_deref() != Some(file.target.as_str()));
            self.bind(&path, file.target.as_str(), access)?;
        }
        Ok(())
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::invalid(format!("the path {} is not UTF-8, which engines cannot take", path.display()))
    })
}

fn is_plain(path: &str) -> bool {
    !path.contains([',', ':', '\\', '"'])
}

fn strange_place(dir: &Path) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("the data directory {} has ',', ':', '\\' or '\"' in its name", dir.display()),
    )
    .with_hint("set XDG_DATA_HOME to another directory")
}

/// `source` under a name that means nothing to those who read mount options: itself, or a link to it.
fn plain(materials: &Materials<'_>, source: &Path, index: usize) -> Result<String> {
    let path = text(source)?;
    if is_plain(path) {
        return Ok(path.to_owned());
    }
    let dir = materials.place.overlay(index);
    let link = dir.join("lower");
    if !is_plain(text(&link)?) {
        return Err(strange_place(&dir));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.and_then(|()| symlink(source, &link))
        .map_err(|e| Error::io(format!("cannot make {}", link.display()), e))?;
    Ok(text(&link)?.to_owned())
}

/// The upper and the work directory above `source`, whose owner and mode the upper one has: they are the root's.
fn layers(materials: &Materials<'_>, source: &Path, index: usize) -> Result<(String, String)> {
    let dir = materials.place.overlay(index);
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    if !is_plain(text(&dir)?) {
        return Err(strange_place(&dir));
    }
    let make = || -> std::io::Result<()> {
        for dir in [&upper, &work] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let like = fs::metadata(source)?;
        if rustix::process::geteuid().is_root() {
            chown(&upper, Some(like.uid()), Some(like.gid()))?;
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(like.mode() & 0o7777))
    };
    make().map_err(|e| Error::io(format!("cannot make {}", dir.display()), e))?;
    let named = |path: &PathBuf| text(path).map(str::to_owned);
    Ok((named(&upper)?, named(&work)?))
}
