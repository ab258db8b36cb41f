//! Managed volumes: directories of the data directory that outlive sandboxes and are mounted by name.

use crate::{
    clock, directories,
    engine::Engine,
    lock::{Lock, Reached},
    query,
    request::VolumeInfo,
};
use agentkernel_archive::remove_tree;
use agentkernel_model::{
    Error, Kind, Result,
    mount::{Access, Mount},
    name::VolumeName,
    path::GuestPath,
    size::ByteSize,
    suggest,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// What is written beside the content.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    /// Milliseconds since 1970-01-01 UTC.
    created_at: i64,
}

/// Makes a volume.
///
/// # Errors
/// [`Kind::AlreadyExists`]; [`Kind::Unsupported`] for a size: nothing here could enforce it.
pub(crate) fn create(engine: &Engine, name: &VolumeName, size: Option<ByteSize>) -> Result<VolumeInfo> {
    if let Some(size) = size {
        return Err(Error::new(
            Kind::Unsupported,
            format!("a volume of at most {size} cannot be promised: volumes are directories, whose size nothing bounds"),
        )
        .with_hint(format!("leave the size out: agentkernel volume create {name}")));
    }
    directories::ensure(&engine.host)?;
    let root = root(engine);
    let fail = |e| Error::io(format!("cannot make the volume '{name}'"), e);
    DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(fail)?;
    let _lock = lock(engine)?;
    if root.join(name.as_str()).exists() {
        return Err(Error::new(Kind::AlreadyExists, format!("there is a volume '{name}' already"))
            .with_hint(format!("use it with --volume {name}:/data")));
    }
    // Complete before it has its name: no crash leaves half a volume.
    let fresh = root.join(format!(".new-{name}"));
    let _ = fs::remove_dir_all(&fresh);
    DirBuilder::new().mode(0o700).create(&fresh).map_err(fail)?;
    DirBuilder::new().mode(0o755).create(fresh.join("data")).map_err(fail)?;
    let meta = serde_json::to_vec(&Meta { created_at: clock::now() })
        .map_err(|e| Error::internal("cannot encode a volume").with_source(e))?;
    fs::write(fresh.join("volume.json"), meta).map_err(fail)?;
    fs::rename(&fresh, root.join(name.as_str())).map_err(fail)?;
    info(engine, name)
}

/// The mount that `--volume NAME:TARGET` stands for.
///
/// # Errors
/// [`Kind::NotFound`] with the next command to type.
pub(crate) fn mount(engine: &Engine, name: &VolumeName, target: &GuestPath, access: Access) -> Result<Mount> {
    let source = data(engine, name);
    if !source.is_dir() {
        return Err(no_such(engine, name));
    }
    Ok(Mount { source, target: target.clone(), access })
}

/// The managed volumes of a command in a sandbox of its own: while this value lives, nobody removes them.
#[derive(Debug)]
pub(crate) struct InUse(#[expect(dead_code, reason = "held")] Vec<Lock>);

/// Holds those of `mounts` that are managed volumes. Of a sandbox with a record the record does that.
///
/// # Errors
/// [`Kind::NotFound`] for one that was removed a moment ago.
pub(crate) fn hold(engine: &Engine, mounts: &[Mount]) -> Result<InUse> {
    let root = root(engine);
    let mut held = Vec::new();
    for mount in mounts {
        let inside = mount.source.strip_prefix(&root).ok().and_then(|path| path.components().next());
        let name = inside.and_then(|name| name.as_os_str().to_str()?.parse::<VolumeName>().ok());
        if let Some(name) = name {
            let lock = Lock::shared(&meta(engine, &name))?;
            held.push(lock.ok_or_else(|| no_such(engine, &name))?);
        }
    }
    Ok(InUse(held))
}

pub(crate) fn list(engine: &Engine) -> Result<Vec<VolumeInfo>> {
    names(engine)?.iter().map(|name| info(engine, name)).collect()
}

/// # Errors
/// [`Kind::NotFound`].
pub(crate) fn info(engine: &Engine, name: &VolumeName) -> Result<VolumeInfo> {
    let fail = |e| Error::io(format!("cannot read the volume '{name}'"), e);
    let text = match fs::read(meta(engine, name)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(no_such(engine, name)),
        Err(e) => return Err(fail(e)),
    };
    let meta: Meta = serde_json::from_slice(&text)
        .map_err(|e| Error::internal(format!("the volume '{name}' is damaged")).with_source(e))?;
    let data = data(engine, name);
    Ok(VolumeInfo {
        name: name.clone(),
        created_at: clock::rfc3339(meta.created_at),
        used_bytes: usage(&data),
        sandboxes: users(engine, &data)?,
        path: data,
    })
}

/// Removes a volume and its content.
///
/// # Errors
/// [`Kind::Conflict`] while a sandbox mounts it or a `run` does, and without `force` when it holds anything.
pub(crate) fn delete(engine: &Engine, name: &VolumeName, content: Content) -> Result<()> {
    let info = info(engine, name)?;
    let _lock = lock(engine)?;
    if let [first, ..] = info.sandboxes.as_slice() {
        return Err(Error::new(
            Kind::Conflict,
            format!("the volume '{name}' is used by {}", info.sandboxes.join(", ")),
        )
        .with_hint(format!("agentkernel sandbox remove {first}")));
    }
    let _alone = match Lock::reach(&meta(engine, name))? {
        Reached::Held(alone) => alone,
        Reached::Missing => return Err(no_such(engine, name)),
        Reached::Busy => {
            return Err(Error::new(Kind::Conflict, format!("the volume '{name}' is used by a run"))
                .with_hint("try again when that command has ended")
                .retry_later());
        }
    };
    let fail = |e| Error::io(format!("cannot remove the volume '{name}'"), e);
    let empty = fs::read_dir(&info.path).map_err(fail)?.next().is_none();
    if !empty && content == Content::Keep {
        return Err(Error::new(Kind::Conflict, format!("the volume '{name}' is not empty"))
            .with_hint(format!("agentkernel volume delete --force {name} removes what is in it")));
    }
    let doomed = root(engine).join(format!(".gone-{name}"));
    // Commands wrote what is in it, as deep as they liked.
    let remove = |path: &Path| remove_tree(path).map_err(|errno| fail(errno.into()));
    remove(&doomed)?;
    fs::rename(root(engine).join(name.as_str()), &doomed).map_err(fail)?;
    remove(&doomed)
}

/// Whether a volume that holds something may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Keep,
    Remove,
}

fn root(engine: &Engine) -> PathBuf {
    engine.host.data.join("volumes")
}

fn data(engine: &Engine, name: &VolumeName) -> PathBuf {
    root(engine).join(name.as_str()).join("data")
}

/// What is known of a volume; locked by the runs that use it.
fn meta(engine: &Engine, name: &VolumeName) -> PathBuf {
    root(engine).join(name.as_str()).join("volume.json")
}

fn lock(engine: &Engine) -> Result<Option<Lock>> {
    Lock::block(&root(engine).join(".lock"))
}

pub(crate) fn names(engine: &Engine) -> Result<Vec<VolumeName>> {
    let root = root(engine);
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("cannot list '{}'", root.display()), e)),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut names: Vec<VolumeName> = entries.filter_map(io::Result::ok).filter_map(name).collect();
    names.sort();
    Ok(names)
}

fn no_such(engine: &Engine, name: &VolumeName) -> Error {
    let names = names(engine).unwrap_or_default();
    let near = suggest::nearest(name.as_str(), names.iter().map(VolumeName::as_str));
    let hint = match near {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("agentkernel volume create {name}"),
    };
    Error::new(Kind::NotFound, format!("there is no volume '{name}'")).with_hint(hint)
}

/// Names of the sandboxes that mount it.
fn users(engine: &Engine, data: &Path) -> Result<Vec<String>> {
    let mounts = |record: &agentkernel_store::Record| {
        record.spec().is_ok_and(|spec| spec.policy.mounts.iter().any(|mount| mount.source == data))
    };
    let records = query::records(engine)?;
    Ok(records.iter().filter(|record| mounts(record)).map(|record| record.name.to_string()).collect())
}

/// Bytes on disk below `path`. What cannot be read, or goes meanwhile, is not counted.
fn usage(path: &Path) -> u64 {
    let mut total = 0;
    let mut rest = vec![path.to_owned()];
    while let Some(directory) = rest.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(io::Result::ok) {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            total += meta.blocks() * 512;
            if meta.is_dir() {
                rest.push(entry.path());
            }
        }
    }
    total
}
