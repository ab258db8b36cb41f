//! One warm sandbox: brought up before anybody asked for it, lent once, then ended.

use super::{
    key::{Build, Key},
    protocol::{Lent, Phase},
    recipe::Wish,
};
use crate::{
    connections,
    directories::{self, SandboxDir},
    engine::Engine,
    lock::Lock,
    outside,
};
use agentkernel_backend::{Backend, CreateInputs, DriverState, Lease, Sandbox, admit::refused};
use agentkernel_egress::HostGateway;
use agentkernel_model::{Error, Kind, Result, id::SandboxId};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::AbortHandle};

/// How long a sandbox may take to come up, and to be removed: a backend that does not answer holds up nobody for longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What has to be removed, whatever happens. When this process dies, its locks do, and gc finds the rest.
#[derive(Debug)]
struct Remains {
    id: SandboxId,
    backend: Arc<dyn Backend>,
    dir: SandboxDir,
    state: Option<DriverState>,
    /// Keeps gc away.
    lock: Lock,
}

impl Remains {
    async fn clear(self) -> Result<()> {
        self.backend.destroy(self.id, self.state.as_ref()).await?;
        self.dir.remove()?;
        drop(self.lock);
        Ok(())
    }
}

/// A sandbox that can be started.
#[derive(Debug)]
pub(super) struct Plan {
    remains: Remains,
    inputs: CreateInputs,
    gateway: Option<Arc<HostGateway>>,
}

/// What a wish comes to now.
#[derive(Debug)]
pub(super) enum Meaning {
    Startable(Box<Plan>),
    /// What is made from the same recipe now is another sandbox than the one that was wished for.
    Other(Key),
}

/// Everything about a new sandbox that needs no waiting. Its directory is made and held.
///
/// # Errors
/// When the backend or the image is gone, or the backend refuses.
pub(super) fn plan(engine: &Engine, build: &Build, wish: &Wish) -> Result<Meaning> {
    let recipe = &wish.recipe;
    recipe.check()?;
    let backend = recipe.find_backend(engine)?;
    let (rootfs, key) = recipe.resolve(engine, build)?;
    if key != wish.key {
        return Ok(Meaning::Other(key));
    }
    let admitted = backend.admit(recipe.spec()).map_err(|refusals| refused(&backend.id(), &refusals))?;
    let id = SandboxId::new();
    let observer = || connections::observe_unnamed(engine, id);
    let gateway = outside::gateway(engine, &recipe.spec().policy, observer)?;
    directories::ensure(&engine.host)?;
    let dir = SandboxDir::of(&engine.host, id);
    let lock = dir.found()?;
    let remains = Remains { id, backend, dir, state: None, lock };
    let inputs = CreateInputs { admitted, id, rootfs };
    Ok(Meaning::Startable(Box::new(Plan { remains, inputs, gateway })))
}

/// See the [module](self). Dropping it ends the sandbox and leaves its directory to gc: [`Warm::end`] is the way.
#[derive(Debug)]
pub(super) struct Warm {
    remains: Remains,
    state: DriverState,
    sandbox: Arc<dyn Sandbox>,
    gateway: Option<Arc<HostGateway>>,
    /// Nobody removes it meanwhile.
    image: Lease,
    /// Of the task that waits for the sandbox to end by itself.
    watch: Option<AbortHandle>,
}

/// Brings a sandbox up, unless `phase` changes first.
///
/// # Errors
/// After an error nothing is left, or what gc finds.
pub(super) async fn bring_up(plan: Plan, mut phase: watch::Receiver<Phase>) -> Result<Warm> {
    let Plan { mut remains, inputs, gateway } = plan;
    let image = inputs.rootfs.clone();
    let starting = start(&mut remains, inputs, gateway.as_ref(), &mut phase);
    let started = tokio::time::timeout(PATIENCE, starting).await;
    match started.unwrap_or_else(|_| Err(too_long("come up"))) {
        Ok((state, sandbox)) => Ok(Warm { remains, state, sandbox, gateway, image, watch: None }),
        Err(error) => {
            // The first failure is the news.
            let _left_to_gc = tokio::time::timeout(PATIENCE, remains.clear()).await;
            Err(error)
        }
    }
}

async fn start(
    remains: &mut Remains,
    inputs: CreateInputs,
    gateway: Option<&Arc<HostGateway>>,
    phase: &mut watch::Receiver<Phase>,
) -> Result<(DriverState, Arc<dyn Sandbox>)> {
    let again =
        CreateInputs { admitted: inputs.admitted.clone(), id: inputs.id, rootfs: inputs.rootfs.clone() };
    // To its end also when the daemon is stopped: what a server makes for somebody who has left is there only after it was
    // removed in vain.
    let created = remains.backend.create(inputs).await?;
    let created = remains.state.insert(created);
    let (state, sandbox) = tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase == Phase::Stopping) => {
            return Err(Error::new(Kind::Cancelled, "the daemon is being stopped"));
        }
        started = remains.backend.start(again, created, outside::of_seam(gateway)) => started?,
    };
    remains.state = Some(state.clone());
    Ok((state, sandbox))
}

fn too_long(what: &str) -> Error {
    Error::new(Kind::Timeout, format!("a warm sandbox did not {what} within {} s", PATIENCE.as_secs()))
        .with_hint("agentkernel doctor")
}

impl Warm {
    pub(super) const fn id(&self) -> SandboxId {
        self.remains.id
    }

    pub(super) fn lent(&self) -> Lent {
        Lent { id: self.id(), state: self.state.clone() }
    }

    /// Has `spawn` start the task that waits for the sandbox to end by itself.
    pub(super) fn watch(&mut self, spawn: impl FnOnce(Arc<dyn Sandbox>, SandboxId) -> AbortHandle) {
        self.watch = Some(spawn(Arc::clone(&self.sandbox), self.id()));
    }

    /// Ends and removes it, with whatever runs in it.
    ///
    /// # Errors
    /// When something could not be removed: gc finds it.
    pub(super) async fn end(self) -> Result<()> {
        let Self { remains, state: _, sandbox, gateway, image, watch } = self;
        if let Some(watch) = watch {
            watch.abort();
        }
        // Where it is what keeps the sandbox up, this ends its processes at once; the rest may take longer.
        drop(sandbox);
        let id = remains.id;
        let ending = async {
            remains.clear().await?;
            // The last bytes that it sent.
            if let Some(gateway) = gateway {
                gateway.finish().await;
            }
            Ok(())
        };
        let ended = tokio::time::timeout(PATIENCE, ending).await.unwrap_or_else(|_| Err(too_long("end")));
        drop(image);
        ended.map_err(|error: Error| {
            Error::new(error.kind(), format!("cannot remove the warm sandbox {id}")).with_source(error)
        })
    }
}
