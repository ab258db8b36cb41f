//! The image of a sandbox among those of `container`: that of our own store, under a name that tells its content.

use super::{
    answers,
    inside::text,
    plan,
    program::{Program, QUICK},
};
use crate::image::{IMAGE_LABEL, IMAGE_NAME, Layout};
use agentkernel_backend::Rootfs;
use agentkernel_model::{Error, Result, mount::Workspace, path::GuestPath, spec::SandboxSpec};
use std::{path::Path, time::Duration};

/// How long it may take to load nothing, and each byte of something. A slow disk writes a megabyte a second.
const LOAD_NOTHING: Duration = Duration::from_secs(120);
const LOAD_BYTES_PER_SECOND: u64 = 1 << 20;
/// The mode of a place to mount something on.
const PLACE: u32 = 0o755;

/// The name of the image of `rootfs` with the places that `spec` mounts something on. It is loaded where it is not there.
///
/// # Errors
/// When layers cannot be read; what `container image load` says.
pub(crate) async fn ensure(
    program: &Program,
    rootfs: &Rootfs,
    spec: &SandboxSpec,
    scratch: &Path,
) -> Result<String> {
    let (rootfs, place) = (with_places(rootfs, spec)?, scratch.to_owned());
    let layout = blocking(move || Layout::of(&rootfs, &place)).await?;
    let (name, hash) = (layout.name(), layout.hash().to_owned());
    if is_there(program, &name, &hash).await? {
        return Ok(name);
    }
    let place = scratch.to_owned();
    let file = blocking(move || layout.write(&place)).await?;
    let size = file.as_file().metadata().map_or(0, |found| found.len());
    let words = answers::words(&["image", "load", "--input", &text(file.path())?]);
    let limit = LOAD_NOTHING + Duration::from_secs(size / LOAD_BYTES_PER_SECOND);
    program.demand(&words, limit).await?;
    if is_there(program, &name, &hash).await? {
        return Ok(name);
    }
    Err(Error::internal("'container image load' worked, and the image is not there"))
}

/// Anybody can give a name to another image: the label has to agree.
async fn is_there(program: &Program, name: &str, hash: &str) -> Result<bool> {
    let images = answers::images(program).await?;
    Ok(images.iter().any(|image| image.name() == name && image.has_label(IMAGE_LABEL, hash)))
}

/// A root that is read-only has to have them before.
fn with_places(rootfs: &Rootfs, spec: &SandboxSpec) -> Result<Rootfs> {
    let mut rootfs = rootfs.clone();
    let mut places: Vec<GuestPath> = plan::mounts(spec).into_iter().map(|mount| mount.target).collect();
    if !matches!(spec.workspace, Workspace::None) {
        places.push(Workspace::TARGET.parse()?);
    }
    places.extend(rootfs.defaults.workdir.clone());
    places.extend(spec.workdir.clone());
    places.extend(["/tmp".parse()?, "/run".parse()?]);
    places.sort();
    places.dedup();
    let known: Vec<GuestPath> = rootfs.directories.iter().map(|(path, _)| path.clone()).collect();
    let new = places.into_iter().filter(|place| place.as_str() != "/" && !known.contains(place));
    rootfs.directories.extend(new.map(|place| (place, PLACE)));
    Ok(rootfs)
}

/// Removes images of ours that no container was made from; the bytes that were freed.
///
/// # Errors
/// When something could not be removed.
pub(crate) async fn prune(program: &Program) -> Result<u64> {
    let used = answers::list(program).await?;
    let mut freed = 0_u64;
    for image in answers::images(program).await? {
        let hash = image.name().strip_prefix(IMAGE_NAME).and_then(|rest| rest.strip_prefix(':'));
        let ours = hash.is_some_and(|hash| image.has_label(IMAGE_LABEL, hash));
        if !ours || used.iter().any(|container| container.image() == image.name()) {
            continue;
        }
        program.demand(&answers::words(&["image", "delete", image.name()]), QUICK).await?;
        freed = freed.saturating_add(image.size());
    }
    Ok(freed)
}

/// Work with files, which must not stop what else runs on this thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::internal("a task that prepares an image ended early").with_source(error)),
    }
}
