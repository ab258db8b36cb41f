//! The short road: one container, one command, and nothing afterwards.

use crate::{
    backend::{Container, STUCK},
    engine::Engine,
    flavor::Flavor,
    launch::{self, Work},
    mounts::Overlays,
    places::Place,
    plan,
    sandbox::explained,
    workspace,
};
use agentkernel_backend::{ByteSource, CreateInputs, Exit, Gateway, Process, process::ExitFuture};
use agentkernel_guest::{
    agent::Road,
    client::{self, Client},
    conversation::Conversation,
    defaults::Defaults,
    process::{self, Pipes, RemoteControl},
};
use agentkernel_model::{Kind, Result, command::ExecSpec, id::SandboxId, mount::Workspace};
use rustix::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use tracing::Instrument as _;

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

    /// When `exit` has come, the sandbox ends with its `lifeline`.
    async fn finish(self, exit: ExitFuture, lifeline: Arc<Conversation>) -> Result<Exit> {
        let exit = exit.await;
        let _cleaning = tracing::info_span!("clean up");
        drop(lifeline);
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
    let spec = inputs.admitted.spec();
    let is_view = matches!(spec.workspace, Workspace::View(_));
    let begun = if is_view && backend.overlays(engine, spec) == Overlays::Copied {
        begin_with_copy(backend, engine, &ephemeral, &inputs, command, gateway).await
    } else {
        begin(backend, engine, &ephemeral, &inputs, command, gateway).await
    };
    match begun {
        Ok((process, lifeline)) => {
            let exit = Box::pin(ephemeral.finish(process.exit, lifeline));
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
) -> Result<(Process, Arc<Conversation>)> {
    let spec = inputs.admitted.spec();
    let exec = Defaults::of(spec, &inputs.rootfs.rootfs)?.command(command);
    backend.make(engine, inputs, &ephemeral.place).instrument(tracing::info_span!("create")).await?;
    let pipes = Pipes::new(command.stdio, backend.same_ids(engine).owner(exec.uid, exec.gid))?;
    let fds = pipes.as_ref().map(|pipes| pipes.inside.each_ref().map(|fd| fd.as_fd()).to_vec());
    let work = Work {
        sources: backend.sources(engine, spec)?,
        callers: None,
        files: plan::files(engine, inputs),
        command: Some(exec.clone()),
        streams: fds.unwrap_or_default(),
    };
    let isolating = launch::bring_up(engine, inputs, &ephemeral.place, work, gateway.as_ref());
    let conversation = Arc::new(isolating.instrument(tracing::info_span!("isolate")).await?);
    let (stdin, stdout, stderr) = match pipes {
        Some(pipes) => (pipes.stdin, ByteSource::Fd(pipes.stdout), ByteSource::Fd(pipes.stderr)),
        None => {
            let (input, output) = process::terminal(&conversation, &exec).await?;
            (input, output, ByteSource::Empty)
        }
    };
    let control = Box::new(RemoteControl(Arc::clone(&conversation)));
    let own = Arc::clone(&conversation);
    let exit = Box::pin(async move { process::ended(&own, &exec, &|| false).await });
    Ok((Process { stdin, stdout, stderr, control, exit }, conversation))
}

/// Where the project has to be copied, that comes before the command, which is then one of several that there could be.
async fn begin_with_copy(
    backend: &Container,
    engine: &Engine,
    ephemeral: &Ephemeral,
    inputs: &CreateInputs,
    command: &ExecSpec,
    gateway: Option<Arc<dyn Gateway>>,
) -> Result<(Process, Arc<Conversation>)> {
    let spec = inputs.admitted.spec();
    let client = Client::new(ephemeral.place.path().to_owned(), Defaults::of(spec, &inputs.rootfs.rootfs)?);
    let exec = client.defaults().command(command);
    backend.make(engine, inputs, &ephemeral.place).await?;
    let callers = Some(client::listener(ephemeral.place.path(), client::SOCKET)?);
    let work = Work {
        sources: backend.sources(engine, spec)?,
        callers,
        files: plan::files(engine, inputs),
        command: None,
        streams: Vec::new(),
    };
    let lifeline = launch::bring_up(engine, inputs, &ephemeral.place, work, gateway.as_ref()).await?;
    workspace::fill(&client, spec).await?;
    let owner = backend.same_ids(engine).owner(exec.uid, exec.gid);
    Ok((client.exec(exec, command.stdio, owner, || false).await?, Arc::new(lifeline)))
}
