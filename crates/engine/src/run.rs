//! One command in a sandbox of its own: no database, no directory, no supervisor.

use crate::{
    engine::Engine,
    outside, published,
    request::{RunRequest, Running},
    rootfs,
    select::{self, Selected},
};
use agentkernel_backend::{CreateInputs, Process};
use agentkernel_egress::PublicGateway;
use agentkernel_model::{Result, id::SandboxId};
use std::sync::Arc;

pub(crate) async fn run(engine: &Engine, request: RunRequest) -> Result<Running> {
    let mut selected = select::select(engine, &request.spec, request.backend.as_deref()).await?;
    loop {
        match attempt(engine, &request, &selected).await {
            Ok(process) => return Ok(Running { process, choice: selected.choice }),
            Err(error) => selected = selected.after_failure(engine, &request.spec, error).await?,
        }
    }
}

async fn attempt(engine: &Engine, request: &RunRequest, selected: &Selected) -> Result<Process> {
    let rootfs = rootfs::resolve(&request.spec.image, &engine.facts)?;
    let gateway = outside::gateway(&request.spec.policy.network)?;
    let inputs = CreateInputs { admitted: selected.admitted.clone(), id: SandboxId::new(), rootfs };
    if !request.spec.ports.is_empty() {
        return published::run(engine, &request.command, Arc::clone(&selected.backend), inputs, gateway)
            .await;
    }
    let process =
        selected.backend.run_once(inputs, &request.command, outside::of_seam(gateway.as_ref())).await?;
    Ok(match gateway {
        Some(gateway) => until_finished(process, gateway),
        None => process,
    })
}

/// `process`, whose end waits for the last bytes that it sent through `gateway`.
fn until_finished(process: Process, gateway: Arc<PublicGateway>) -> Process {
    let Process { stdin, stdout, stderr, control, exit } = process;
    let exit = Box::pin(async move {
        let ended = exit.await;
        gateway.finish().await;
        ended
    });
    Process { stdin, stdout, stderr, control, exit }
}
