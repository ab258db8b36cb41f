//! The short road: one container, one command, and nothing afterwards.

use crate::{
    backend::{Container, STUCK},
    engine::Engine,
    flavor::Flavor,
    launch::{self, Work},
    places::Place,
    plan,
    sandbox::explained,
};
use agentkernel_backend::{ByteSource, CreateInputs, Exit, Gateway, Process};
use agentkernel_guest::{
    agent::Road,
    conversation::Conversation,
    defaults::Defaults,
    process::{self, Pipes, RemoteControl},
    wire::Exec,
};
use agentkernel_model::{Kind, Result, command::ExecSpec, id::SandboxId};
use rustix::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

/// What there is of an ephemeral sandbox. When it is dropped without [`Ephemeral::clear`], its agent ends with the
/// connection, the engine removes the container, and its directory is found by the next sweep.
struct Ephemeral {
    backend: Container,
    id: SandboxId,
    place: Place,
    road: Road,
    /// Held while it is somebody's.
    _lock: OwnedFd,
}

impl Ephemeral {
    fn new(backend: &Container, id: SandboxId, road: Road) -> Result<Self> {
        let (place, lock) = Place::begin(&backend.host, id)?;
        Ok(Self { backend: backend.clone(), id, place, road, _lock: lock })
    }

    async fn clear(self) -> Result<()> {
        launch::remove(self.backend.engine().await?, &plan::name(self.id)).await?;
        self.place.remove().await
    }

    async fn finish(self, conversation: Arc<Conversation>, exec: &Exec) -> Result<Exit> {
        let exit = process::ended(&conversation, exec, &|| false).await;
        drop(conversation);
        let exit = match (exit, self.road) {
            (Ok(exit), Road::Streams) => {
                let engine = &self.backend.engine().await?.docker;
                Ok(explained(engine, &plan::name(self.id), exit).await)
            }
            (Ok(exit), Road::Socket) if self.backend.flavor == Flavor::Docker => {
                self.went().await?;
                return Ok(exit);
            }
            (exit, _) => exit,
        };
        self.clear().await?;
        exit
    }

    /// The agent ends with its connection, and Docker removes the container by itself: to be asked for that in the middle of
    /// it takes it a third longer.
    async fn went(self) -> Result<()> {
        let engine = self.backend.engine().await?;
        let name = plan::name(self.id);
        match tokio::time::timeout(STUCK, launch::removed(engine, &name)).await {
            Ok(Ok(())) => self.place.remove().await,
            Ok(Err(_)) | Err(_) => self.clear().await,
        }
    }
}

pub(crate) async fn run(
    backend: &Container,
    inputs: CreateInputs,
    command: &ExecSpec,
    gateway: Option<Arc<dyn Gateway>>,
) -> Result<Process> {
    let engine = backend.engine().await?;
    let ephemeral = Ephemeral::new(backend, inputs.id, plan::road(engine, inputs.admitted.spec()))?;
    match begin(backend, engine, &ephemeral, &inputs, command, gateway).await {
        Ok((process, conversation, exec)) => {
            let exit = Box::pin(async move { ephemeral.finish(conversation, &exec).await });
            Ok(Process { exit, ..process })
        }
        Err(error) => {
            // The reason of the failure is the news; what cannot be removed now is found by the next sweep. One that did
            // not answer would have to be waited for once more.
            if error.kind() != Kind::Timeout {
                let _ = ephemeral.clear().await;
            }
            Err(error)
        }
    }
}

async fn begin(
    backend: &Container,
    engine: &Engine,
    ephemeral: &Ephemeral,
    inputs: &CreateInputs,
    command: &ExecSpec,
    gateway: Option<Arc<dyn Gateway>>,
) -> Result<(Process, Arc<Conversation>, Exec)> {
    let spec = inputs.admitted.spec();
    let exec = Defaults::of(spec, &inputs.rootfs.rootfs)?.command(command);
    backend.make(engine, inputs, &ephemeral.place).await?;
    let pipes = Pipes::new(command.stdio, backend.same_ids(engine).owner(exec.uid, exec.gid))?;
    let fds = pipes.as_ref().map(|pipes| pipes.inside.each_ref().map(|fd| fd.as_fd()).to_vec());
    let work = Work {
        callers: None,
        files: plan::files(inputs),
        command: Some(exec.clone()),
        streams: fds.unwrap_or_default(),
    };
    let conversation = launch::bring_up(engine, inputs, &ephemeral.place, work, gateway.as_ref()).await?;
    let conversation = Arc::new(conversation);
    let (stdin, stdout, stderr) = match pipes {
        Some(pipes) => (pipes.stdin, ByteSource::Fd(pipes.stdout), ByteSource::Fd(pipes.stderr)),
        None => {
            let (input, output) = process::terminal(&conversation, &exec).await?;
            (input, output, ByteSource::Empty)
        }
    };
    let control = Box::new(RemoteControl(Arc::clone(&conversation)));
    let exit = Box::pin(std::future::pending());
    Ok((Process { stdin, stdout, stderr, control, exit }, conversation, exec))
}
