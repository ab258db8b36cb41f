//! What a warm sandbox is made from: everything of a run but its command and its environment.

use super::key::{Build, Key};
use crate::{engine::Engine, outside, rootfs};
use agentkernel_backend::{Backend, Lease, Pooling};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    Error, Kind, Result,
    command::ExecSpec,
    id::BackendId,
    image::{Digest, ImageRef},
    mount::Workspace,
    spec::{Lifetime, SandboxSpec},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// See the [module](self). Arrives over a socket as well: [`Recipe::check`] comes before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    backend: BackendId,
    /// Without its environment, which goes with the command: it may hold secrets, and differs from run to run. The working
    /// directory and the user stay, because a backend makes a sandbox to fit them.
    spec: SandboxSpec,
    /// The very image, where it is one of a registry.
    image: Option<Digest>,
    /// The caller's tool installations, where the image is this machine.
    facts: Option<Facts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    path: Vec<PathBuf>,
    home: Option<PathBuf>,
}

/// A recipe, and the key of what it makes as somebody saw it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub(super) key: Key,
    pub(super) recipe: Recipe,
}

/// Why sandboxes of `spec` cannot be started before they are asked for; `None`: they can.
///
/// What a warm sandbox shows of this machine's directories would be what was there when it was started.
pub(super) fn obstacle(spec: &SandboxSpec) -> Option<&'static str> {
    let obstacles = [
        (spec.lifetime != Lifetime::Ephemeral, "it is to stay"),
        (spec.workspace != Workspace::None, "it shows the project"),
        (!spec.policy.mounts.is_empty(), "it mounts directories of this machine"),
        (!spec.ports.is_empty(), "it publishes ports"),
        (spec.init_script.is_some(), "it has an init script"),
        (!spec.files.is_empty(), "its configuration adds files"),
        (spec.policy.has_own_files(), "it has secrets, or rules about requests"),
    ];
    obstacles.into_iter().find_map(|(is_one, why)| is_one.then_some(why))
}

/// The command of a run as one in a sandbox that was made from its recipe.
pub(super) fn command_in_warm(spec: &SandboxSpec, command: &ExecSpec) -> ExecSpec {
    let env = spec.env.iter().chain(&command.env).cloned().collect();
    ExecSpec { env, ..command.clone() }
}

impl Recipe {
    pub(super) fn of(backend: BackendId, spec: &SandboxSpec, rootfs: &Lease, facts: &HostFacts) -> Self {
        let (image, facts) = match spec.image {
            ImageRef::Host => (None, Some(Facts { path: facts.path.clone(), home: facts.home.clone() })),
            ImageRef::Oci(_) => (rootfs.rootfs.identity.parse().ok(), None),
        };
        Self { backend, spec: SandboxSpec { env: Vec::new(), ..spec.clone() }, image, facts }
    }

    /// Refuses what no recipe of [`Recipe::of`] says.
    ///
    /// # Errors
    /// [`Kind::Invalid`].
    pub(super) fn check(&self) -> Result<()> {
        let whole = match self.spec.image {
            ImageRef::Host => self.facts.is_some() && self.image.is_none(),
            ImageRef::Oci(_) => self.facts.is_none() && self.image.is_some(),
        };
        if whole && self.spec.env.is_empty() && obstacle(&self.spec).is_none() {
            return Ok(());
        }
        Err(Error::invalid("a sandbox that cannot be kept warm was asked for"))
    }

    pub(super) const fn spec(&self) -> &SandboxSpec {
        &self.spec
    }

    pub(super) const fn backend(&self) -> &BackendId {
        &self.backend
    }

    /// The backend, as long as keeping its sandboxes warm is of use.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for one that is not in this build, [`Kind::Unsupported`].
    pub(super) fn find_backend(&self, engine: &Engine) -> Result<Arc<dyn Backend>> {
        let backend = engine.backend(engine.registry.find(self.backend.as_str())?)?;
        match backend.pool() {
            Pooling::Worthwhile => Ok(backend),
            Pooling::Pointless => Err(pointless(&self.backend)),
        }
    }

    /// The root, and the key of what is made from it now.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the image is gone.
    pub(super) fn resolve(&self, engine: &Engine, build: &Build) -> Result<(Lease, Key)> {
        let facts = self.facts.clone().map(|facts| HostFacts { path: facts.path, home: facts.home });
        let rootfs =
            rootfs::resolve_again(engine, &self.spec, &facts.unwrap_or_default(), self.image.as_ref())?;
        let key = Key::of(build, &engine.host, &outside::files(engine), self, &rootfs.rootfs)?;
        Ok((rootfs, key))
    }
}

impl Wish {
    /// What runs of `spec` on `backend` would take.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where nothing can be, or is worth being, kept warm.
    pub(super) fn of(engine: &Engine, backend: &dyn Backend, spec: &SandboxSpec) -> Result<Self> {
        if backend.pool() == Pooling::Pointless {
            return Err(pointless(&backend.id()));
        }
        if let Some(why) = obstacle(spec) {
            return Err(Error::new(
                Kind::Unsupported,
                format!("a sandbox of '{}' cannot be kept warm: {why}", spec.image),
            )
            .with_hint("start the daemon in a directory without that configuration"));
        }
        let rootfs = rootfs::resolve(engine, spec)?;
        let recipe = Recipe::of(backend.id(), spec, &rootfs, &engine.facts);
        let key = Key::of(
            &Build::this(&engine.host)?,
            &engine.host,
            &outside::files(engine),
            &recipe,
            &rootfs.rootfs,
        )?;
        Ok(Self { key, recipe })
    }
}

fn pointless(backend: &BackendId) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("backend '{backend}' starts a sandbox about as fast as one could be taken from a pool"),
    )
    .with_hint("leave --image out, or name a slower backend with --backend")
}

#[cfg(test)]
#[path = "recipe_tests.rs"]
mod tests;
