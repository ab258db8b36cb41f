//! One command in a sandbox of its own whose ports are published, or before which something has to be done inside: an init
//! script, files of agentkernel's own. The short road gives no sandbox to do it in, so this process is the keeper of an
//! ephemeral one.

use crate::{
    directories::{self, SandboxDir},
    engine::Engine,
    initscript, inside,
    lock::Lock,
    outside,
    ports::Listeners,
    values::Source,
};
use agentkernel_backend::{
    Backend, CreateInputs, DriverState, Exit, Lease, Process, Sandbox, process::ExitFuture,
};
use agentkernel_egress::HostGateway;
use agentkernel_model::{Result, command::ExecSpec, id::SandboxId};
use std::sync::Arc;
use tokio::{runtime, task::JoinSet};

pub(crate) async fn run(
    engine: &Engine,
    command: &ExecSpec,
    backend: Arc<dyn Backend>,
    inputs: CreateInputs,
    gateway: Option<Arc<HostGateway>>,
    values: &Source,
) -> Result<Process> {
    let listeners = Listeners::bind(&inputs.admitted.spec().ports).await?;
    directories::ensure(&engine.host)?;
    let dir = SandboxDir::of(&engine.host, inputs.id);
    // Before the backend makes anything: gc leaves alone what is locked.
    let lock = dir.found()?;
    let remains = Remains { id: inputs.id, backend, dir, state: None, lock };
    let mut guard = Guard(Some(remains));
    let image = inputs.rootfs.clone();
    match bring_up(&mut guard, command, inputs, gateway.as_ref(), values).await {
        Ok((sandbox, process)) => {
            let ports = listeners.serve(&sandbox);
            Ok(whole(process, Ending { guard, ports, sandbox, gateway, image }))
        }
        Err(error) => {
            guard.clear().await?;
            Err(error)
        }
    }
}

async fn bring_up(
    guard: &mut Guard,
    command: &ExecSpec,
    inputs: CreateInputs,
    gateway: Option<&Arc<HostGateway>>,
    values: &Source,
) -> Result<(Arc<dyn Sandbox>, Process)> {
    let Some(remains) = &mut guard.0 else { unreachable!("a guard is cleared once, at the end") };
    let again =
        CreateInputs { admitted: inputs.admitted.clone(), id: inputs.id, rootfs: inputs.rootfs.clone() };
    let spec = inputs.admitted.spec().clone();
    let user = spec.user.or(inputs.rootfs.rootfs.defaults.user).unwrap_or_default();
    let state = remains.backend.create(inputs).await?;
    let state = remains.state.insert(state);
    let (state, sandbox) = remains.backend.start(again, state, outside::of_seam(gateway)).await?;
    remains.state = Some(state);
    // Only now: process 1 may be a clone of this one.
    let values = values.ask(&spec.policy).await?;
    let authority = outside::bind(gateway, &values)?;
    inside::furnish(sandbox.as_ref(), &spec, user, authority, &values).await?;
    if let Some(script) = spec.init_script {
        initscript::run(sandbox.as_ref(), &script).await?;
    }
    let process = sandbox.exec(command).await?;
    Ok((sandbox, process))
}

/// What has to be removed, whatever happens.
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

/// Clears the remains when it is dropped before its time: a caller that gave up, or dropped its process.
#[derive(Debug)]
struct Guard(Option<Remains>);

impl Guard {
    async fn clear(mut self) -> Result<()> {
        match self.0.take() {
            Some(remains) => remains.clear().await,
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(remains) = self.0.take() else { return };
        // Without a runtime this process is ending; the sandbox ends with it, and gc finds the rest.
        if let Ok(runtime) = runtime::Handle::try_current() {
            runtime.spawn(remains.clear());
        }
    }
}

struct Ending {
    guard: Guard,
    ports: JoinSet<()>,
    sandbox: Arc<dyn Sandbox>,
    gateway: Option<Arc<HostGateway>>,
    /// Nobody removes it meanwhile.
    image: Lease,
}

impl Ending {
    async fn after(self, exit: ExitFuture) -> Result<Exit> {
        let ended = exit.await;
        drop(self.ports);
        drop(self.sandbox);
        self.guard.clear().await?;
        if let Some(gateway) = self.gateway {
            gateway.finish().await;
        }
        drop(self.image);
        ended
    }
}

/// `process`, whose end is the end of its sandbox.
fn whole(process: Process, ending: Ending) -> Process {
    let Process { stdin, stdout, stderr, control, exit } = process;
    Process { stdin, stdout, stderr, control, exit: Box::pin(ending.after(exit)) }
}
