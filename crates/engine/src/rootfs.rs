//! From an image reference to a root file system that a backend can use.

use crate::engine::Engine;
use agentkernel_backend::{GeneratedFile, Lease};
use agentkernel_image::{HostFacts, host_rootfs};
use agentkernel_model::{
    Error, Kind, Result,
    image::{Digest, ImageRef},
    mount::Workspace,
    path::GuestPath,
    spec::SandboxSpec,
};

/// The root of a new sandbox of `spec`, with the files that the spec adds.
///
/// # Errors
/// [`Kind::NotFound`] when the image is not on this machine: having it is [`crate::images::obtain`]'s business.
pub(crate) fn resolve(engine: &Engine, spec: &SandboxSpec) -> Result<Lease> {
    let lease = match &spec.image {
        ImageRef::Host => host_rootfs(&engine.facts)?,
        ImageRef::Oci(reference) => {
            let images = engine.images();
            let image = images.find(reference)?.ok_or_else(|| {
                Error::new(Kind::NotFound, format!("image '{reference}' is not on this machine"))
                    .with_hint(format!("agentkernel images pull {reference}"))
            })?;
            images.lease(&image)?
        }
    };
    with_files(lease, spec)
}

/// The root that the sandbox was created with, whatever its reference means by now.
///
/// # Errors
/// [`Kind::NotFound`] when that very image is gone.
pub(crate) fn resolve_again(
    engine: &Engine,
    spec: &SandboxSpec,
    facts: &HostFacts,
    image: Option<&Digest>,
) -> Result<Lease> {
    let lease = match (&spec.image, image) {
        (ImageRef::Host, _) | (_, None) => host_rootfs(facts)?,
        (ImageRef::Oci(reference), Some(id)) => {
            let images = engine.images();
            let image = images.find_id(id)?.ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    format!("the image that this sandbox was made from ({reference}, {id}) is gone"),
                )
                .with_hint(format!(
                    "agentkernel images pull {reference}; if it changed meanwhile, create the sandbox anew"
                ))
            })?;
            images.lease(&image)?
        }
    };
    with_files(lease, spec)
}

/// Adds the files of `spec`.
///
/// # Errors
/// [`Kind::Unsupported`] for one that would lie below something that is mounted over it, where nobody would see it.
fn with_files(lease: Lease, spec: &SandboxSpec) -> Result<Lease> {
    for file in &spec.files {
        if let Some(place) = covered_by(&file.target, &lease, spec) {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the file {} of the configuration would be covered by {place}", file.target),
            )
            .with_hint("put it somewhere else with 'dest', such as below /etc, /opt or /root"));
        }
    }
    Ok(lease.with_files(spec.files.iter().map(|file| GeneratedFile {
        target: file.target.clone(),
        mode: file.mode,
        content: file.content.clone(),
    })))
}

/// What is mounted at `path` or above it, other than the root.
fn covered_by(path: &GuestPath, lease: &Lease, spec: &SandboxSpec) -> Option<String> {
    let below = |top: &str| {
        path.as_str().strip_prefix(top).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
    };
    if below("/tmp") {
        return Some("/tmp, which is empty at each start".to_owned());
    }
    if spec.workspace != Workspace::None && below(Workspace::TARGET) {
        return Some(format!("the project at {}", Workspace::TARGET));
    }
    if let Some(mount) = spec.policy.mounts.iter().find(|mount| path.is_within(&mount.target)) {
        return Some(format!("the volume at {}", mount.target));
    }
    let graft = lease.rootfs.grafts.iter().find(|graft| path.is_within(&graft.target));
    graft.map(|graft| format!("this machine's own {}", graft.target))
}
