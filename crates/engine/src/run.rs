//! One command in a sandbox of its own: no database, no directory, no supervisor.

use crate::{
    connections,
    daemon::{self, Beginning},
    engine::Engine,
    entrypoint, inside, outside, private, published,
    request::{Pool, RunRequest, Running},
    rootfs,
    select::{self, Selected},
    step::{self, step},
    values,
    volumes::{self, InUse},
};
use agentkernel_backend::{CreateInputs, Lease, Process};
use agentkernel_egress::HostGateway;
use agentkernel_model::{Result, command::ExecSpec, id::SandboxId};
use std::sync::Arc;

pub(crate) async fn run(engine: &Engine, mut request: RunRequest) -> Result<Running> {
    private::cover(&engine.host, &mut request.spec)?;
    values::check_network(&request.spec.policy)?;
    request.spec = inside::with_environment(&request.spec)?;
    let volumes = volumes::hold(engine, &request.spec.policy.mounts)?;
    let choosing = select::select(engine, &request.spec, request.backend.as_deref());
    let mut selected = step!("select", choosing).await?;
    loop {
        match attempt(engine, &request, &selected).await {
            Ok(process) => {
                let process = step::until_end(step::span!("command"), holding(process, volumes));
                return Ok(Running { process, choice: selected.choice });
            }
            // Once values were read, no other process 1 may be cloned off this one.
            Err(error) if request.values.was_asked() => return Err(error),
            Err(error) => selected = selected.after_failure(engine, &request.spec, error).await?,
        }
    }
}

async fn attempt(engine: &Engine, request: &RunRequest, selected: &Selected) -> Result<Process> {
    let rootfs = step!("rootfs", async { rootfs::resolve(engine, &request.spec) }).await?;
    let argv = entrypoint::before(&rootfs.rootfs.defaults.entrypoint, &request.command.argv)?;
    let command = &ExecSpec { argv, ..request.command.clone() };
    let missed = match request.pool {
        Pool::Avoid => None,
        Pool::Use => {
            match step!("pool", daemon::run(engine, &selected.backend, &request.spec, &rootfs, command))
                .await?
            {
                Beginning::Warm(process) => return Ok(process),
                Beginning::Ordinary(missed) => Some(missed),
            }
        }
    };
    let id = SandboxId::new();
    let observer = || connections::observe_unnamed(engine, id);
    let gateway = outside::gateway(engine, &request.spec.policy, observer)?;
    // Nobody removes the image while the command runs.
    let image = rootfs.clone();
    let inputs = CreateInputs { admitted: selected.admitted.clone(), id, rootfs };
    let spec = &request.spec;
    if !spec.ports.is_empty() || spec.init_script.is_some() || spec.policy.has_own_files() {
        let backend = Arc::clone(&selected.backend);
        return step!("start", published::run(engine, command, backend, inputs, gateway, &request.values))
            .await;
    }
    let starting = selected.backend.run_once(inputs, command, outside::of_seam(gateway.as_ref()));
    let process = step!("start", starting).await?;
    drop(missed);
    Ok(until_finished(process, gateway, image))
}

/// `process`, which holds `volumes`.
fn holding(process: Process, volumes: InUse) -> Process {
    let Process { stdin, stdout, stderr, control, exit } = process;
    let exit = Box::pin(async move {
        let ended = exit.await;
        drop(volumes);
        ended
    });
    Process { stdin, stdout, stderr, control, exit }
}

/// `process`, whose end waits for the last bytes that it sent through `gateway`, and which holds `image`.
fn until_finished(process: Process, gateway: Option<Arc<HostGateway>>, image: Lease) -> Process {
    let Process { stdin, stdout, stderr, control, exit } = process;
    let exit = Box::pin(async move {
        let ended = exit.await;
        if let Some(gateway) = gateway {
            gateway.finish().await;
        }
        drop(image);
        ended
    });
    Process { stdin, stdout, stderr, control, exit }
}
