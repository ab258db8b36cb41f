//! The agent's files in an engine that cannot be shown this machine's: a volume of the engine, filled once.
//!
//! A volume is used when the data directory has a note of it, which is written when it is full: what was killed while it
//! filled one left a volume that nobody uses, and the next to fill one removes it. Whoever makes a container holds the
//! lock from the look at the note until the container is there, which keeps the volume from then on.

use crate::{
    engine::Engine,
    fault::{failed, is_missing, status},
    flavor::Flavor,
    plan, seccomp,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result, seccomp::SeccompLevel};
use bollard::{
    models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest},
    query_parameters::{
        CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListVolumesOptionsBuilder,
        RemoveContainerOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use rustix::{
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// The label of what brings the agent to an engine: which build of it.
pub(crate) const AGENT_LABEL: &str = "sh.agentkernel.agent";
const NAME: &str = "agentkernel-agent";
/// Where the container that fills a volume has it: in a directory that sandboxes have, and no image.
const PLACE: &str = "/.agentkernel/agent";
/// What is sent at a time, in bytes.
const CHUNK: usize = 256 << 10;
/// How long an engine may take for nothing, and each byte.
const NOTHING: Duration = Duration::from_secs(120);
const BYTES_PER_SECOND: u64 = 256 << 10;

/// A volume with the agent's files. While this lives, nobody of this data directory removes it.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) volume: String,
    /// Where the engine has it, on its own machine.
    mountpoint: String,
    _lock: OwnedFd,
}

/// What a data directory knows of a volume that is full.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    build: String,
    volume: String,
}

/// What of it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Old builds, and what was never full.
    Old,
    All,
}

impl Delivered {
    /// The file with the system call policy of `level`, for engines that want the path of one.
    pub(crate) fn profile(&self, level: SeccompLevel) -> String {
        format!("{}/{}", self.mountpoint, profile_name(level))
    }
}

fn profile_name(level: SeccompLevel) -> &'static str {
    match level {
        SeccompLevel::Restrictive => "seccomp-restrictive.json",
        SeccompLevel::Moderate => "seccomp-moderate.json",
    }
}

/// The volume with this build of the agent, filled where it is not there yet by a container of `image`, which is never
/// started.
///
/// # Errors
/// When the engine refuses, or takes too long.
pub(crate) async fn ensure(engine: &Engine, flavor: Flavor, host: &Host, image: &str) -> Result<Delivered> {
    let shared = lock(host, FlockOperation::LockShared).await?;
    if let Some((volume, mountpoint)) = look(engine, flavor, host).await? {
        return Ok(Delivered { volume, mountpoint, _lock: shared });
    }
    drop(shared);
    let alone = lock(host, FlockOperation::LockExclusive).await?;
    // Somebody else was faster.
    if let Some((volume, mountpoint)) = look(engine, flavor, host).await? {
        return Ok(Delivered { volume, mountpoint, _lock: alone });
    }
    remove(engine, flavor, host, Sweep::Old).await?;
    let (volume, mountpoint) = fill(engine, flavor, host, image).await?;
    Ok(Delivered { volume, mountpoint, _lock: alone })
}

/// Removes volumes of the agent that no container has. While somebody of this data directory makes a container, nothing is
/// done.
///
/// # Errors
/// When the engine refuses.
pub(crate) async fn sweep(engine: &Engine, flavor: Flavor, host: &Host, what: Sweep) -> Result<()> {
    match lock(host, FlockOperation::NonBlockingLockExclusive).await {
        Ok(_alone) => remove(engine, flavor, host, what).await,
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        Err(error) => Err(error),
    }
}

async fn lock(host: &Host, how: FlockOperation) -> Result<OwnedFd> {
    let path = host.data.join("engines/agent.lock");
    let failed = |path: &Path, e: Errno| match e {
        Errno::WOULDBLOCK => Error::new(Kind::Conflict, format!("{} is in use", path.display())),
        e => Error::io(format!("cannot lock {}", path.display()), e.into()),
    };
    let locked = tokio::task::spawn_blocking(move || {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(|e| failed(&path, e))?;
        rustix::io::retry_on_intr(|| flock(&file, how)).map_err(|e| failed(&path, e))?;
        Ok(file)
    });
    locked.await.map_err(|e| Error::internal("a wait for a lock ended early").with_source(e))?
}

fn note(engine: &Engine, flavor: Flavor, host: &Host) -> PathBuf {
    let place: String = Sha256::digest(engine.way.to_string().as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    host.data.join("engines").join(format!("{}-{place}.agent", flavor.name()))
}

/// What this build of the agent is called.
fn build(engine: &Engine) -> String {
    let name = engine.installation.build.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn noted(engine: &Engine, flavor: Flavor, host: &Host) -> Option<Note> {
    let note: Note = serde_json::from_slice(&fs::read(note(engine, flavor, host)).ok()?).ok()?;
    (note.build == build(engine)).then_some(note)
}

/// The volume that is noted, where the engine has it still, and its place there.
async fn look(engine: &Engine, flavor: Flavor, host: &Host) -> Result<Option<(String, String)>> {
    let Some(Note { build, volume }) = noted(engine, flavor, host) else { return Ok(None) };
    match engine.docker.inspect_volume(&volume).await {
        Ok(seen) => {
            let says = |label: &str, value: &String| seen.labels.get(label) == Some(value);
            let ours = says(AGENT_LABEL, &build) && says(plan::OWNER_LABEL, &engine.owner);
            Ok(ours.then_some((volume, seen.mountpoint)))
        }
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(failed("look for the agent's volume", e)),
    }
}

fn labels(engine: &Engine) -> HashMap<String, String> {
    HashMap::from([
        (AGENT_LABEL.to_owned(), build(engine)),
        (plan::OWNER_LABEL.to_owned(), engine.owner.clone()),
    ])
}

async fn fill(engine: &Engine, flavor: Flavor, host: &Host, image: &str) -> Result<(String, String)> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|e| Error::internal("there is no randomness").with_source(e))?;
    let volume = format!("{NAME}-{:016x}", u64::from_ne_bytes(random));
    let request = VolumeCreateRequest {
        name: Some(volume.clone()),
        labels: Some(labels(engine)),
        ..VolumeCreateRequest::default()
    };
    let made = engine.docker.create_volume(request).await;
    let mountpoint = made.map_err(|e| failed("make a volume for the agent", e))?.mountpoint;
    let filled = upload(engine, &volume, image).await;
    let noted = filled.and_then(|()| write_note(engine, flavor, host, &volume));
    if let Err(error) = noted {
        let _ = engine.docker.remove_volume(&volume, None::<RemoveVolumeOptions>).await;
        return Err(error);
    }
    Ok((volume, mountpoint))
}

/// The content is on the engine's disk by its own word; the note follows it.
fn write_note(engine: &Engine, flavor: Flavor, host: &Host, volume: &str) -> Result<()> {
    let path = note(engine, flavor, host);
    let failed = |e: io::Error| Error::io(format!("cannot write {}", path.display()), e);
    let note = Note { build: build(engine), volume: volume.to_owned() };
    let text =
        serde_json::to_vec(&note).map_err(|e| Error::internal("a note cannot be written").with_source(e))?;
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).map_err(failed)
}

async fn upload(engine: &Engine, volume: &str, image: &str) -> Result<()> {
    let (source, scratch) = (engine.installation.build.clone(), engine.installation.source.clone());
    let packed = tokio::task::spawn_blocking(move || pack(&source, &scratch)).await;
    let packed = packed.map_err(|e| Error::internal("the agent's packing ended early").with_source(e))?;
    let (archive, size) = packed.map_err(|e| Error::io("cannot pack the agent's files", e))?;
    let name = format!("{volume}-fill");
    let mount = Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(PLACE.to_owned()),
        // Nothing of the image comes into it.
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..Mount::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/never-started".to_owned()]),
        labels: Some(labels(engine)),
        host_config: Some(HostConfig {
            mounts: Some(vec![mount]),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let made = engine.docker.create_container(Some(options), body).await;
    made.map_err(|e| failed("make a container that takes the agent's files", e))?;
    let sent = send(engine, &name, archive, size).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let removed = engine.docker.remove_container(&name, Some(options)).await;
    sent.and(removed.map_err(|e| failed("remove the container that took the agent's files", e)))
}

async fn send(engine: &Engine, container: &str, archive: File, size: u64) -> Result<()> {
    let limit = NOTHING + Duration::from_secs(size / BYTES_PER_SECOND);
    // The answer comes when all was sent.
    let docker = engine.docker.clone().with_timeout(limit * 2);
    let options = UploadToContainerOptionsBuilder::default().path(PLACE).build();
    let body = bollard::body_try_stream(pieces(archive));
    let sent = docker.upload_to_container(container, Some(options), body);
    match tokio::time::timeout(limit, sent).await {
        Ok(sent) => sent.map_err(|e| failed("send the agent's files", e)),
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!("the engine has not taken the agent's files in {} seconds", limit.as_secs()),
        )),
    }
}

/// The files side by side, all of them root's, and the policies of system calls for engines that want files of them; and
/// their size. In a file without a name, beside `near`.
fn pack(build: &Path, near: &Path) -> io::Result<(File, u64)> {
    let directory = near.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut archive = tar::Builder::new(tempfile::tempfile_in(directory)?);
    for entry in fs::read_dir(build)? {
        let entry = entry?;
        let mut file = File::open(entry.path())?;
        let mut header = header(file.metadata()?.len(), 0o755);
        archive.append_data(&mut header, entry.file_name(), &mut file)?;
    }
    for level in [SeccompLevel::Restrictive, SeccompLevel::Moderate] {
        let policy = seccomp::around_agent(level);
        let mut header = header(policy.len() as u64, 0o644);
        archive.append_data(&mut header, profile_name(level), policy.as_bytes())?;
    }
    let mut file = archive.into_inner()?;
    let size = file.stream_position()?;
    file.rewind()?;
    Ok((file, size))
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn pieces(archive: File) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold(archive, |mut archive| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; CHUNK];
            let count = archive.read(&mut piece)?;
            piece.truncate(count);
            io::Result::Ok((piece, archive))
        });
        let (piece, archive) = read.await.map_err(io::Error::other)??;
        Ok(if piece.is_empty() { None } else { Some((Bytes::from(piece), archive)) })
    })
}

/// The caller holds the lock alone: whatever is not noted is nobody's work.
async fn remove(engine: &Engine, flavor: Flavor, host: &Host, what: Sweep) -> Result<()> {
    let kept = match what {
        Sweep::Old => noted(engine, flavor, host).map(|note| note.volume),
        Sweep::All => None,
    };
    let is_ours = |labels: &HashMap<String, String>| {
        labels.contains_key(AGENT_LABEL) && labels.get(plan::OWNER_LABEL) == Some(&engine.owner)
    };
    let mine = format!("{}={}", plan::OWNER_LABEL, engine.owner);
    let filters = HashMap::from([("label", vec![mine.as_str()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let containers = engine.docker.list_containers(Some(options)).await;
    for container in containers.map_err(|e| failed("list the containers", e))? {
        let Some(id) = container.id.filter(|_| container.labels.as_ref().is_some_and(is_ours)) else {
            continue;
        };
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        gone(engine.docker.remove_container(&id, Some(options)).await, "remove a container that was left")?;
    }
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let volumes = engine.docker.list_volumes(Some(options)).await;
    let volumes = volumes.map_err(|e| failed("list the volumes", e))?.volumes.unwrap_or_default();
    for volume in
        volumes.iter().filter(|volume| is_ours(&volume.labels) && Some(&volume.name) != kept.as_ref())
    {
        let removed = engine.docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>).await;
        gone(removed, "remove an old volume of the agent")?;
    }
    Ok(())
}

/// What is gone already, or is somebody's still, is as it should be.
fn gone(removed: Result<(), bollard::errors::Error>, what: &str) -> Result<()> {
    match removed {
        Err(e) if !is_missing(&e) && status(&e) != Some(409) => Err(failed(what, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
