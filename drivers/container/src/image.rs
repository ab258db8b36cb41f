//! The engine's image of a root file system.
//!
//! The engine's own image is taken where it has the very one that the layers come from. Else the layers are packed again
//! and loaded under a name that tells their content, once. What a container gets beside them (generated files, mounts)
//! is in neither.

mod bundle;
mod layout;
mod owned;
mod packed;
mod recipe;
mod skeleton;

use crate::{
    fault::{failed, is_missing},
    places::OWNER_LABEL,
};
use agentkernel_backend::Rootfs;
use agentkernel_model::{Error, Kind, Result, text::printable};
use bollard::{
    Docker, errors::Error as Engine, models::ImageConfig, query_parameters::ImportImageOptionsBuilder,
};
use bundle::Bundle;
use futures_util::StreamExt as _;
pub(crate) use layout::{IMAGE_LABEL, IMAGE_NAME, Layout};
#[cfg(target_os = "linux")]
pub(crate) use owned::{Removal, owned, remove};
use recipe::Recipe;
use std::{path::Path, pin::pin, time::Duration};

/// The label of images of ours, which tells their content.
pub(crate) const LABEL: &str = "sh.agentkernel.rootfs";
/// The name of images of ours, without the tag. No registry of this name exists, so no engine pulls it.
const NAME: &str = "agentkernel.local/rootfs";

/// How long an engine may take to say what images it has: on a busy machine, seconds.
const ANSWER: Duration = Duration::from_secs(30);
/// How long an engine may take to load nothing, and each byte of something. A slow disk writes a megabyte a second.
const LOAD_NOTHING: Duration = Duration::from_secs(120);
const LOAD_BYTES_PER_SECOND: u64 = 1 << 20;

/// What to create containers of `rootfs` from: an id or a name. The image is in the engine when this returns; who
/// removes it meanwhile is the caller's to notice. Layers are packed in `scratch`, in files without a name. In an engine that
/// other machines use as well, the image is `owner`'s.
///
/// # Errors
/// [`Kind::Unavailable`] and [`Kind::Timeout`] for an engine that cannot be reached or does not answer, what
/// [`pack_layer`](agentkernel_archive::pack_layer) has for layers, and whatever the engine says.
pub(crate) async fn ensure(
    engine: &Docker,
    rootfs: &Rootfs,
    owner: Option<&str>,
    scratch: &Path,
) -> Result<String> {
    // Before anything is made, so that an engine that hangs is found out here, and soon.
    let engine = &engine.clone().with_timeout(ANSWER);
    let original = recipe::original(rootfs);
    let (rootfs, scratch, owner) = (rootfs.clone(), scratch.to_owned(), owner.map(str::to_owned));
    let recipe = blocking(move || Ok((Recipe::of(&rootfs, owner.as_deref(), &scratch)?, scratch)));
    let (recipe, scratch) = recipe.await?;
    let name = format!("{NAME}:{}", recipe.hash());
    // Asked for together: either may be there, and neither question waits for the other.
    let (theirs, ours) =
        tokio::join!(has_original(engine, original.as_deref()), has_ours(engine, &name, recipe.hash()));
    if let (Some(id), true) = (original, theirs?) {
        return Ok(id);
    }
    if ours? {
        return Ok(name);
    }
    let hash = recipe.hash().to_owned();
    let bundle = blocking({
        let name = name.clone();
        move || Bundle::new(&name, recipe.pack(&scratch)?)
    })
    .await?;
    let loaded = load(engine, bundle).await;
    // Whatever was answered: somebody else may have loaded it meanwhile, or the engine may have lost it.
    match (has_ours(engine, &name, &hash).await, loaded) {
        (Ok(true), _) => Ok(name),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        // Cleaned up at once by somebody else.
        (Ok(false), Ok(())) => {
            Err(Error::new(Kind::NotFound, "the engine loaded the root file system and does not have it"))
        }
    }
}

async fn has_original(engine: &Docker, id: Option<&str>) -> Result<bool> {
    let Some(id) = id else { return Ok(false) };
    match engine.inspect_image(id).await {
        // An id is looked up as a name too.
        Ok(image) => {
            let same = image.id.is_some_and(|found| bare(&found) == bare(id));
            Ok(same && image.config.is_none_or(|config| is_harmless(&config)))
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed("look for the image in the engine", error)),
    }
}

/// Whether an image's own settings, which an engine adds to what a container is asked for, change nothing: no variable
/// that loads something into the agent, no volume that makes a place of a read-only root writable, no label of ours.
fn is_harmless(config: &ImageConfig) -> bool {
    let of_loader = |variable: &String| {
        let name = variable.split('=').next().unwrap_or_default();
        ["LD_", "GLIBC_", "MALLOC_", "GCONV_", "LOCPATH"].iter().any(|prefix| name.starts_with(prefix))
    };
    let variables = config.env.iter().flatten().any(of_loader);
    let volumes = config.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty());
    let labels = config.labels.iter().flatten().any(|(name, _)| name.starts_with("sh.agentkernel."));
    !variables && !volumes && !labels
}

/// Podman has ids with the algorithm in some answers and without in others.
fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

async fn has_ours(engine: &Docker, name: &str, hash: &str) -> Result<bool> {
    match engine.inspect_image(name).await {
        Ok(image) => {
            let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
            // Anybody can give a name to another image.
            Ok(labels.get(LABEL).is_some_and(|found| found == hash))
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed("look for the root file system in the engine", error)),
    }
}

async fn load(engine: &Docker, bundle: Bundle) -> Result<()> {
    let limit = LOAD_NOTHING + Duration::from_secs(bundle.size() / LOAD_BYTES_PER_SECOND);
    // Answers begin late: the client's own limit, which is for quick requests, must not end this one.
    let engine = engine.clone().with_timeout(limit * 2);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let body = bollard::body_try_stream(bundle.into_stream());
    let answers = async {
        let mut answers = pin!(engine.import_image(options, body, None));
        while let Some(answer) = answers.next().await {
            answer.map_err(|error| refused("load the root file system", error))?;
        }
        Ok(())
    };
    match tokio::time::timeout(limit, answers).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!("the engine has not loaded the root file system in {} seconds", limit.as_secs()),
        )),
    }
}

/// As [`failed`], also for what an engine says after it has answered "200 OK".
fn refused(what: &str, error: Engine) -> Error {
    match error {
        Engine::DockerStreamError { error: said } => {
            Error::internal(format!("cannot {what}: the engine says: {}", printable(said.trim())))
        }
        other => failed(what, other),
    }
}

/// Work with files, which must not stop what else runs on this thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::internal("a task that prepares an image ended early").with_source(error)),
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
