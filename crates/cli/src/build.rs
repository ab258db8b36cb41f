//! `--build`: the image of the project's own Dockerfile.

use crate::{
    backends::BUILDERS,
    configuration::Loaded,
    image::{Chosen, Having},
    project::{Directory, Reach},
    workspace,
};
use agentkernel_config::detect;
use agentkernel_engine::{
    Engine,
    build::{BuildRequest, Cache},
};
use agentkernel_image::Silent;
use agentkernel_model::{Error, Kind, Result, image::ImageRef, text::printable};
use std::{
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Stdio,
};

/// Built, or found among what was built before; or only told.
///
/// # Errors
/// [`Kind::NotFound`] without a Dockerfile, and those of [`Engine::build_image`].
pub(crate) fn image(engine: &Engine, loaded: &Loaded, cwd: &Path, having: Having<'_>) -> Result<Chosen> {
    let request = request(loaded, cwd)?;
    let from = format!("--build, {}", printable(&request.dockerfile.to_string_lossy()));
    match having {
        Having::Get { .. } => {
            let built = engine.build_image(&request, &BUILDERS, stderr, &Silent)?;
            let note = built.by.map(|by| format!("built {} with {by}", built.reference));
            Ok(Chosen { image: ImageRef::Oci(built.reference), from, note })
        }
        Having::Tell => {
            let reference = engine.built_reference(&request)?;
            let here = engine.images().find(&reference)?.is_some();
            let note = (!here).then(|| format!("{reference} would be built"));
            Ok(Chosen { image: ImageRef::Oci(reference), from, note })
        }
    }
}

/// What the builder says is not the command's output.
fn stderr() -> io::Result<Stdio> {
    io::stderr().as_fd().try_clone_to_owned().map(Stdio::from)
}

/// What a person named may lead anywhere; what was only found stays in the project, links included.
fn request(loaded: &Loaded, cwd: &Path) -> Result<BuildRequest> {
    let (build, reach) = &loaded.build;
    let missing = |what: &str, path: &Path| {
        Error::new(Kind::NotFound, format!("there is no {what} '{}'", printable(&path.to_string_lossy())))
    };
    let real = |what: &str, path: PathBuf| {
        let found = path.canonicalize().map_err(|e| missing(what, &path).with_source(e))?;
        let outside = *reach == Reach::Project && !found.starts_with(workspace::resolved(cwd));
        if outside {
            return Err(Error::new(
                Kind::Denied,
                format!("the {what} '{}' leads out of the project", printable(&path.to_string_lossy())),
            )
            .with_hint("agentkernel trust, if the configuration may do that"));
        }
        Ok(found)
    };
    let context = build.context.as_ref().map_or_else(|| cwd.to_owned(), PathBuf::from);
    let context = real("build context", context)?;
    let dockerfile = match &build.dockerfile {
        Some(path) => PathBuf::from(path),
        None => {
            let name = detect::dockerfile(&Directory(context.clone()))?.ok_or_else(|| {
                missing("Dockerfile in", &context)
                    .with_hint("write one, name it with build.dockerfile, or leave --build out")
            })?;
            context.join(name)
        }
    };
    let project = context.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(BuildRequest {
        project,
        dockerfile: real("Dockerfile", dockerfile)?,
        target: build.target.clone(),
        args: build.args.clone(),
        cache: if build.no_cache == Some(true) { Cache::Ignore } else { Cache::Use },
        context,
    })
}
