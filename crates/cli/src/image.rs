//! Which image: a flag's, a Dockerfile's, a named file's, or what detection found.

use crate::{
    args::SandboxArgs,
    build,
    configuration::Loaded,
    printer::Printer,
    project::{Directory, Reach},
    transfer::Bars,
};
use agentkernel_config::{Why, detect};
use agentkernel_engine::{Engine, images::Origin};
use agentkernel_model::{Result, image::ImageRef};
use std::path::Path;

/// An image, and what led to it.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) image: ImageRef,
    pub(crate) from: String,
    /// For people: that it is not the one that was detected, or not here yet.
    pub(crate) note: Option<String>,
}

/// What is done about an image that is not here.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Having<'a> {
    /// It is pulled or built.
    Get { printer: &'a Printer, json: bool },
    /// Nothing: only what would be done is told.
    Tell,
}

/// `program` is the command's first word; without one only the project speaks.
///
/// # Errors
/// When a named image cannot be had, a build fails, or the project cannot be read.
pub(crate) fn choose(
    engine: &Engine,
    flags: &SandboxArgs,
    loaded: &Loaded,
    cwd: &Path,
    program: Option<&str>,
    having: Having<'_>,
) -> Result<Chosen> {
    if flags.build {
        return build::image(engine, loaded, cwd, having);
    }
    let named =
        flags.image.clone().map(|image| (image, "--image".to_owned())).or_else(|| loaded.named.clone());
    if let Some((image, from)) = named {
        return had(engine, flags, image, from, &Origin::Named, having);
    }
    if let Some(agent) = loaded.agent
        && loaded.found.is_none()
        && engine.host_image_has(agent)
    {
        // No image that is detected has it.
        let from = format!("{}, which this machine has", agent.title());
        return Ok(Chosen { image: ImageRef::Host, from, note: None });
    }
    let directory = Directory(cwd.to_owned());
    let found_image = loaded.found.as_ref().map(|(image, _)| image);
    let found = match program {
        Some(program) => detect::for_command(program, &directory, found_image)?,
        None => detect::for_project(&directory, found_image)?,
    };
    let from = found.why.to_string();
    let origin = match found.why {
        // The file names it, though nobody named the file: taking another one would not be what it says.
        Why::Config if matches!(loaded.found, Some((_, Reach::Project))) => Origin::Found,
        Why::Config => Origin::Named,
        _ => Origin::Detected { why: from.clone() },
    };
    had(engine, flags, found.image, from, &origin, having)
}

fn had(
    engine: &Engine,
    flags: &SandboxArgs,
    image: ImageRef,
    from: String,
    origin: &Origin,
    having: Having<'_>,
) -> Result<Chosen> {
    let ImageRef::Oci(reference) = &image else { return Ok(Chosen { image, from, note: None }) };
    match having {
        Having::Get { printer, json } => {
            let bars = Bars::pulling(reference, *printer, json);
            let had = engine.obtain_image(&image, origin, flags.pull, &bars)?;
            Ok(Chosen { image: had.image, from, note: had.note })
        }
        Having::Tell => {
            let here = engine.images().find(reference)?.is_some();
            let note = (!here).then(|| format!("{reference} is not on this machine yet: it would be pulled"));
            Ok(Chosen { image, from, note })
        }
    }
}
