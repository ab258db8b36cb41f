//! Whether an engine works here: one container is really started.

use crate::{
    backend::Container,
    engine::Absence,
    launch::{self, Work},
    places::Place,
    plan,
};
use agentkernel_backend::{Backend as _, CreateInputs, Health, ImageDefaults, Lease, Owners, Rootfs};
use agentkernel_model::{
    Error, Result,
    id::SandboxId,
    image::ImageRef,
    limits::Limits,
    mount::Workspace,
    policy::{EffectivePolicy, Profile},
    spec::{Isolation, Lifetime, SandboxSpec},
};
use std::collections::BTreeMap;

pub(crate) async fn probe(backend: &Container) -> Health {
    let engine = match backend.ready().await {
        Ok(engine) => engine,
        Err(Absence::NotThere(reason)) => {
            return Health::Undetected { reason: format!("{reason}; {}", backend.flavor.hint()) };
        }
        Err(Absence::Unusable(error)) => return unhealthy(&error, backend),
    };
    if let Err(error) = try_out(backend).await {
        return unhealthy(&error, backend);
    }
    let facts = &engine.facts;
    let limits = [("memory", facts.limits_memory), ("cpus", facts.limits_cpus), ("pids", facts.limits_pids)];
    let limits: Vec<&str> = limits.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect();
    let attributes = BTreeMap::from([
        ("socket".to_owned(), engine.way.to_string()),
        ("files".to_owned(), if engine.is_elsewhere() { "copied" } else { "shared" }.to_owned()),
        ("version".to_owned(), facts.version.clone()),
        ("rootless".to_owned(), if facts.rootless { "yes" } else { "no" }.to_owned()),
        ("limits".to_owned(), if limits.is_empty() { "none".to_owned() } else { limits.join(", ") }),
        ("runtimes".to_owned(), facts.runtimes.join(", ")),
    ]);
    Health::Healthy { attributes }
}

fn unhealthy(error: &Error, backend: &Container) -> Health {
    let hint = error.hint().unwrap_or_else(|| backend.flavor.hint()).to_owned();
    Health::Unhealthy { reason: error.to_string(), hint }
}

/// An image with nothing in it does: the agent brings all that it needs.
async fn try_out(backend: &Container) -> Result<()> {
    let mut policy = EffectivePolicy::of_profile(Profile::Moderate);
    policy.limits = Limits { memory: None, cpus: None, pids: None };
    let spec = SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Ephemeral,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    };
    let rootfs = Rootfs {
        identity: "probe".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    };
    let admitted =
        backend.admit(&spec).map_err(|r| agentkernel_backend::admit::refused(&backend.id(), &r))?;
    let inputs = CreateInputs { admitted, id: SandboxId::new(), rootfs: Lease::unguarded(rootfs) };
    let (place, lock) = Place::begin(&backend.host, inputs.id)?;
    let engine = backend.engine().await?;
    let sources = backend.sources(engine, inputs.admitted.spec())?;
    let work = Work { sources, callers: None, files: Vec::new(), command: None, streams: Vec::new() };
    let up = match backend.make(engine, &inputs, &place).await {
        Ok(()) => launch::bring_up(engine, &inputs, &place, work, None).await.map(drop),
        Err(error) => Err(error),
    };
    let removed = launch::remove(engine, &plan::name(inputs.id)).await;
    place.remove().await?;
    drop(lock);
    // Why it did not come up is the news.
    up.and(removed)
}
