//! A sandbox for one command.

use super::{
    Apple,
    defaults::{Defaults, env_file},
    inside::{Begun, Inside, Pipes},
    lifeline::Lifeline,
    marks, plan, process, workspace,
};
use crate::places::{self, Place};
use agentkernel_backend::{CreateInputs, Process};
use agentkernel_model::{Result, command::ExecSpec, id::SandboxId};
use rustix::fd::OwnedFd;

/// What there is of it. When it is dropped without [`Ephemeral::clear`], its main process ends with the pipe to it, the
/// container with that, and its directory is found by the next sweep.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    backend: Apple,
    id: SandboxId,
    place: Place,
    lifeline: Option<Lifeline>,
    /// Held while it is somebody's.
    _lock: OwnedFd,
}

impl Ephemeral {
    pub(crate) async fn clear(mut self) -> Result<()> {
        if let Some(lifeline) = self.lifeline.take() {
            lifeline.close().await;
        }
        self.backend.clear(&marks::name(self.id)).await?;
        self.place.remove().await
    }
}

pub(crate) async fn run(backend: &Apple, inputs: CreateInputs, command: &ExecSpec) -> Result<Process> {
    let (place, lock) = Place::begin(backend.host(), inputs.id)?;
    let mut ephemeral =
        Ephemeral { backend: backend.clone(), id: inputs.id, place, lifeline: None, _lock: lock };
    match begin(&mut ephemeral, &inputs, command).await {
        Ok((inside, begun)) => Ok(process::process(inside, begun, Some(ephemeral))),
        Err(error) => {
            // The reason of the failure is the news; what cannot be removed now is found by the next sweep.
            let _ = ephemeral.clear().await;
            Err(error)
        }
    }
}

async fn begin(
    ephemeral: &mut Ephemeral,
    inputs: &CreateInputs,
    command: &ExecSpec,
) -> Result<(Inside, (Begun, Pipes))> {
    let backend = ephemeral.backend.clone();
    let spec = inputs.admitted.spec();
    let defaults = Defaults::of(spec, &inputs.rootfs.rootfs)?;
    let command = defaults.command(command);
    // What cannot be given to it is known before anything is started.
    env_file(&command.env)?;
    workspace::check(spec)?;
    let program = backend.program()?;
    let image = backend.image(inputs, ephemeral.place.path()).await?;
    let owner = places::owner_mark(backend.host());
    let words = plan::create(&plan::Materials { id: inputs.id, spec, image: &image, owner: &owner });
    ephemeral.lifeline = Some(Lifeline::begin(&program, &words, &inputs.id.to_string()).await?);
    let inside = Inside::new(program, inputs.id, &ephemeral.place);
    workspace::fill(&inside, spec, defaults.user()).await?;
    let begun = inside.begin(&command).await?;
    Ok((inside, begun))
}
