//! From a request to a sandbox whose agent has reported.

use crate::{
    engine::Engine,
    facts, fault,
    keeper::{self, Rendezvous},
    places::Place,
    plan,
    sources::Sources,
    stream,
};
use agentkernel_backend::{CreateInputs, Gateway};
use agentkernel_guest::{
    agent::{Listener, Network, NewFile, Road, VERSION, Welcome},
    conversation::Conversation,
    wire::Exec,
};
use agentkernel_model::{Error, Kind, Result, id::SandboxId, policy, text::printable};
use bollard::{
    Docker,
    errors::Error as Unreadable,
    models::ContainerInspectResponse,
    query_parameters::{RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder},
};
use futures_util::StreamExt as _;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::{pin::pin, sync::Arc, time::Duration};

/// How long an engine may take to start a container, and its agent to make it complete.
const START: Duration = Duration::from_secs(60);

/// What the agent is told beside the walls.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) sources: Sources,
    /// Where other processes of this machine will ask for commands.
    pub(crate) callers: Option<OwnedFd>,
    pub(crate) files: Vec<NewFile>,
    pub(crate) command: Option<Exec>,
    /// The command's own, where it has no terminal.
    pub(crate) streams: Vec<BorrowedFd<'a>>,
}

/// Starts the container of `inputs` and welcomes its agent.
///
/// # Errors
/// When it does not come up; its agent then ends it, if there is one.
pub(crate) async fn bring_up(
    engine: &Engine,
    inputs: &CreateInputs,
    place: &Place,
    work: Work<'_>,
    gateway: Option<&Arc<dyn Gateway>>,
) -> Result<Conversation> {
    let spec = inputs.admitted.spec();
    let network = match &spec.policy.network {
        policy::Network::Rules(rules) if rules.let_udp_out() => Network::CapturedWithUdp,
        policy::Network::Rules(_) => Network::Captured,
        policy::Network::Off | policy::Network::Open => Network::Given,
    };
    let Work { sources, callers, files, command, streams } = work;
    let confinement = plan::confinement(spec);
    let workdir = inputs.rootfs.rootfs.defaults.workdir.as_ref().map(ToString::to_string);
    let listener = Listener::None;
    let meant = sources.meant();
    let mut welcome =
        Welcome { version: VERSION, confinement, network, listener, meant, files, workdir, command };
    let name = plan::name(inputs.id);
    let up = async {
        match plan::road(engine, spec) {
            Road::Socket => {
                let rendezvous = Rendezvous::open(&place.keeper())?;
                let socket = report(engine, &name, &rendezvous).await?;
                // Before a command can see it.
                drop(rendezvous);
                sources.check()?;
                if callers.is_some() {
                    welcome.listener = Listener::Named;
                }
                let fds: Vec<_> = callers.iter().map(|fd| fd.as_fd()).chain(streams).collect();
                keeper::welcome(socket, &welcome, &fds, gateway).await
            }
            Road::Streams => {
                let attached = stream::attach(&engine.docker, inputs.id, callers).await?;
                engine.docker.start_container(&name, None).await.map_err(fault::not_started)?;
                sources.check()?;
                tokio::select! {
                    welcomed = keeper::welcome_attached(attached, &welcome, &streams, gateway) => welcomed,
                    why = ended(engine, &name) => Err(why),
                }
            }
        }
    };
    let late = || format!("the container did not come up within {} s", START.as_secs());
    tokio::time::timeout(START, up).await.map_err(|_| Error::new(Kind::Timeout, late()))?
}

/// Starts the container; the connection of its agent, which may come before the engine's answer.
async fn report(engine: &Engine, name: &str, rendezvous: &Rendezvous) -> Result<OwnedFd> {
    let mut start = pin!(engine.docker.start_container(name, None));
    let mut meet = pin!(rendezvous.meet());
    tokio::select! {
        answer = &mut start => {
            answer.map_err(fault::not_started)?;
            tokio::select! {
                socket = &mut meet => socket,
                why = ended(engine, name) => Err(why),
            }
        }
        socket = &mut meet => {
            start.await.map_err(fault::not_started)?;
            socket
        }
    }
}

/// Resolves when the container has ended, with what the engine says of it.
async fn ended(engine: &Engine, name: &str) -> Error {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let _code = pin!(engine.docker.wait_container(name, Some(options))).next().await;
    let state = engine.docker.inspect_container(name, None).await.ok().and_then(|seen| seen.state);
    let said = state.and_then(|state| state.error).filter(|said| !said.is_empty());
    let said = said.map_or_else(String::new, |said| format!(": {}", printable(&said)));
    Error::new(Kind::Conflict, format!("the container ended before its agent reported{said}"))
}

/// What has the name of a sandbox's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Ours,
    /// Somebody else's container.
    Foreign,
    Nothing,
}

/// Names can be given away and taken: our labels say what is ours.
///
/// # Errors
/// Those of an engine that cannot be asked.
pub(crate) async fn find(engine: &Engine, id: SandboxId) -> Result<Found> {
    let name = plan::name(id);
    let labels = match look(&engine.docker, &name).await {
        Ok(seen) => seen.config.and_then(|config| config.labels).unwrap_or_default(),
        Err(e) if fault::is_missing(&e) => return Ok(Found::Nothing),
        // Podman has states that bollard does not know.
        Err(Unreadable::JsonDataError { .. }) => {
            let way = engine.way.clone();
            match tokio::task::spawn_blocking(move || facts::labels(&way, &name)).await {
                Ok(Ok(Some(labels))) => labels,
                // It went meanwhile.
                Ok(Ok(None)) => return Ok(Found::Nothing),
                // Whose it is stays unknown: what is nobody's may be removed, and this may be somebody's.
                Ok(Err(error)) => return Err(error),
                Err(e) => return Err(Error::internal("a look for the container ended early").with_source(e)),
            }
        }
        Err(e) => return Err(fault::failed("look for the container", e)),
    };
    let says = |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
    let ours = says(plan::LABEL, &id.to_string()) && says(plan::OWNER_LABEL, &engine.owner);
    Ok(if ours { Found::Ours } else { Found::Foreign })
}

/// Once more where the container ended meanwhile.
async fn look(docker: &Docker, name: &str) -> std::result::Result<ContainerInspectResponse, Unreadable> {
    let seen = docker.inspect_container(name, None).await;
    if seen.as_ref().is_err_and(fault::is_of_a_process_that_ended) {
        return docker.inspect_container(name, None).await;
    }
    seen
}

/// The error for what cannot be done because somebody else's container has the name.
pub(crate) fn foreign(id: SandboxId) -> Error {
    let name = plan::name(id);
    Error::new(Kind::Conflict, format!("the container '{name}' is not this sandbox's, and has its name"))
        .with_hint("remove or rename that container; the sandbox's own is gone")
}

/// Ends and removes a container with everything of it. One that does not exist is removed.
///
/// # Errors
/// When the engine does not.
pub(crate) async fn remove(engine: &Engine, name: &str) -> Result<()> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.docker.remove_container(name, Some(options)).await {
        Ok(()) => Ok(()),
        Err(e) if fault::is_missing(&e) => Ok(()),
        // Somebody is at it, as the engine itself with what removes itself.
        Err(e) if fault::status(&e) == Some(409) => removed(engine, name).await,
        Err(e) => Err(fault::failed("remove the container", e)),
    }
}

/// Resolves when the engine has removed the container by itself, or has none of this name.
///
/// # Errors
/// When the engine does not say so.
pub(crate) async fn removed(engine: &Engine, name: &str) -> Result<()> {
    let options = WaitContainerOptionsBuilder::default().condition("removed").build();
    match pin!(engine.docker.wait_container(name, Some(options))).next().await {
        Some(Err(e)) if !fault::is_end(&e) => Err(fault::failed("wait for the end of the container", e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
