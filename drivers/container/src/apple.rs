//! Apple's `container`: each sandbox is a Linux container in a small virtual machine of its own, on macOS 26.
//!
//! It has no interface but its command line, so that is what is called here, as its documentation of version 1.2.2 says;
//! it was never tried on the hardware. Where to look: `program` is one call, `answers` what it answers, `plan` a sandbox
//! in its words, `lifeline` what ends a sandbox with its keeper, `inside` and `process` a command, `scripts` what a
//! sandbox's own shell is asked to do.

mod answers;
mod defaults;
mod entries;
mod ephemeral;
mod files;
mod images;
mod inside;
mod lifeline;
mod mark;
mod marks;
mod plan;
mod process;
mod program;
mod renamed;
mod sandbox;
mod scripts;
mod terminal;
mod workspace;

use crate::places::{self, Place};
use agentkernel_backend::{
    Admitted, Backend, CreateInputs, DriverState, Gateway, Health, Host, Owned, Process, Refusal, Sandbox,
    admit,
};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::{Boundary, Capabilities, Egress, Support},
    command::ExecSpec,
    id::{BackendId, SandboxId},
    mount::Workspace,
    spec::SandboxSpec,
};
use async_trait::async_trait;
use defaults::Defaults;
use inside::Inside;
use lifeline::Lifeline;
use program::{Program, QUICK, SLOW, START};
use sandbox::{AppleSandbox, Hold};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

/// Its name, also among the engines that were used.
const ID: &str = "apple";
/// Version 1 of this driver's state.
const STATE_VERSION: u32 = 1;
/// Exists once the project is in place: from then on it is the sandbox's own.
const FILLED_FILE: &str = "filled";

#[derive(Debug, Serialize, Deserialize)]
struct State {
    defaults: Defaults,
    /// The main process of the last start, as numbered inside.
    main: Option<u32>,
}

#[derive(Debug, Clone)]
pub(crate) struct Apple {
    host: Host,
}

impl Apple {
    pub(crate) fn new(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    fn host(&self) -> &Host {
        &self.host
    }

    /// # Errors
    /// [`Kind::Unavailable`] when it is not on this machine.
    fn program(&self) -> Result<Program> {
        Program::find(&self.host.surroundings).map_err(|e| {
            let hint = e.hint().unwrap_or(START).to_owned();
            Error::new(Kind::Unavailable, e.message()).with_hint(hint)
        })
    }

    /// The name of the image of `inputs`, which is there when this returns.
    async fn image(&self, inputs: &CreateInputs, scratch: &std::path::Path) -> Result<String> {
        places::note_use(&self.host, ID)?;
        images::ensure(&self.program()?, &inputs.rootfs.rootfs, inputs.admitted.spec(), scratch).await
    }

    /// Ends and removes the container `name`. One that does not exist is removed.
    async fn remove(&self, name: &str) -> Result<()> {
        let program = self.program()?;
        let words = answers::words(&["delete", "--force", name]);
        match program.demand(&words, SLOW).await {
            Err(error) if answers::one(&program, name).await?.is_some() => Err(error),
            _ => Ok(()),
        }
    }

    /// As [`Apple::remove`], of one that most likely is gone.
    async fn clear(&self, name: &str) -> Result<()> {
        if answers::one(&self.program()?, name).await?.is_none() { Ok(()) } else { self.remove(name).await }
    }

    /// Ends the container `name` at once. Ending one that does not run succeeds.
    async fn end(&self, program: &Program, name: &str) -> Result<()> {
        let words = answers::words(&["stop", "--signal", "KILL", "--time", "5", name]);
        let answer = program.ask(&words, SLOW).await?;
        match answers::one(program, name).await? {
            Some(container) if container.is_running() => Err(program.refused(&words, &answer.said).await),
            _ => Ok(()),
        }
    }

    /// The container of a sandbox of this data directory, if it runs.
    async fn running(&self, program: &Program, id: SandboxId) -> Result<bool> {
        let container = answers::one(program, &marks::name(id)).await?;
        let owner = places::owner_mark(&self.host);
        Ok(container.is_some_and(|it| it.is_running() && it.label(marks::OWNER) == Some(&owner)))
    }

    async fn make(&self, inputs: &CreateInputs, place: &Place) -> Result<()> {
        let spec = inputs.admitted.spec();
        workspace::check(spec)?;
        let image = self.image(inputs, place.path()).await?;
        let owner = places::owner_mark(&self.host);
        let words = plan::create(&plan::Materials { id: inputs.id, spec, image: &image, owner: &owner });
        self.program()?.demand(&words, SLOW).await.map(drop)
    }

    /// Starts the container, and puts the project in place the first time.
    async fn bring_up(
        &self,
        inputs: &CreateInputs,
        place: &Place,
        user: &Defaults,
    ) -> Result<(Inside, Lifeline)> {
        let program = self.program()?;
        let spec = inputs.admitted.spec();
        let nonce = inputs.id.to_string();
        let words = answers::words(&["start", "--attach", "--interactive", &marks::name(inputs.id)]);
        let lifeline = Lifeline::begin(&program, &words, &nonce).await?;
        let inside = Inside::new(program, inputs.id, place);
        let filled = place.path().join(FILLED_FILE);
        if matches!(spec.workspace, Workspace::View(_)) && !filled.exists() {
            workspace::fill(&inside, spec, user.user()).await?;
            fs::write(&filled, "").map_err(|e| Error::io(format!("cannot write {}", filled.display()), e))?;
        }
        Ok((inside, lifeline))
    }

    /// Removes ephemeral sandboxes whose processes are dead.
    async fn sweep(&self) {
        for (id, place) in places::abandoned(&self.host) {
            if self.remove(&marks::name(id)).await.is_ok() {
                let _ = place.remove().await;
            }
        }
    }
}

#[async_trait]
impl Backend for Apple {
    fn id(&self) -> BackendId {
        BackendId::new(ID)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            boundary: Boundary::Vm,
            // It has its own network or none; there is no gateway between.
            egress: Egress::ProviderOnly,
            limit_memory: Support::Yes,
            limit_cpus: Support::Yes,
            limit_pids: Support::No,
            users: Support::Yes,
            mounts: Support::Yes,
            workspace_view: Support::Yes,
            read_only_root: Support::Yes,
            image_changes: Support::Yes,
            own_files: Support::No,
            terminal: Support::Yes,
            publish_ports: Support::No,
            named: Support::Yes,
            runtimes: Support::No,
        }
    }

    /// Asks its service. Nothing is started: a virtual machine needs an image, and none may be here.
    async fn probe(&self) -> Health {
        let program = match Program::find(&self.host.surroundings) {
            Ok(program) => program,
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                return Health::Undetected { reason: format!("{error}; {hint}") };
            }
        };
        match answers::status(&program).await {
            Ok(status) => Health::Healthy {
                attributes: BTreeMap::from([
                    ("program".to_owned(), program.path().display().to_string()),
                    ("version".to_owned(), agentkernel_model::text::printable(&status.version)),
                    ("written for".to_owned(), answers::WRITTEN_AGAINST.to_owned()),
                ]),
            },
            Err(error) => {
                let hint = error.hint().unwrap_or(START).to_owned();
                Health::Unhealthy { reason: error.to_string(), hint }
            }
        }
    }

    async fn reach(&self) -> Result<()> {
        let program = Program::find(&self.host.surroundings)?;
        answers::status(&program).await.map(drop)
    }

    async fn prune(&self) -> Result<u64> {
        if !places::was_used(&self.host, ID) {
            return Ok(0);
        }
        images::prune(&self.program()?).await
    }

    fn admit(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>> {
        let mut can = self.capabilities();
        // A virtual machine has whole processors.
        let whole = spec.policy.limits.cpus.is_none_or(|cpus| cpus.value().milli() % 1000 == 0);
        can.limit_cpus = Support::from_test(whole);
        admit::admit(&self.id(), spec, &can, plan::refusals(spec))
    }

    async fn create(&self, inputs: CreateInputs) -> Result<DriverState> {
        let place = Place::named(&self.host, inputs.id);
        let defaults = Defaults::of(inputs.admitted.spec(), &inputs.rootfs.rootfs)?;
        place.make()?;
        let made = self.make(&inputs, &place).await;
        if made.is_err() {
            let _ = self.remove(&marks::name(inputs.id)).await;
            let _ = place.remove().await;
        }
        made?;
        DriverState::encode(STATE_VERSION, &State { defaults, main: None })
    }

    async fn start(
        &self,
        inputs: CreateInputs,
        state: &DriverState,
        _gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<(DriverState, Arc<dyn Sandbox>)> {
        let place = Place::named(&self.host, inputs.id);
        let lock = match place.hold() {
            Ok(lock) => lock,
            // Somebody keeps it.
            Err(error) => match self.attach(inputs.id, state).await? {
                Some(running) => return Ok((state.clone(), running)),
                None => return Err(error),
            },
        };
        let State { defaults, .. } = state.decode(STATE_VERSION)?;
        let program = self.program()?;
        workspace::check(inputs.admitted.spec())?;
        if self.running(&program, inputs.id).await? {
            // What a keeper left that was killed a moment ago.
            self.end(&program, &marks::name(inputs.id)).await?;
        }
        let up = self.bring_up(&inputs, &place, &defaults).await;
        if up.is_err() {
            let _ = self.end(&program, &marks::name(inputs.id)).await;
        }
        let (inside, lifeline) = up?;
        let main = Some(lifeline.main());
        let state = DriverState::encode(STATE_VERSION, &State { defaults: defaults.clone(), main })?;
        let hold = Some(Hold { lifeline, _lock: lock });
        Ok((state, Arc::new(AppleSandbox { inside, defaults, hold })))
    }

    async fn attach(&self, id: SandboxId, state: &DriverState) -> Result<Option<Arc<dyn Sandbox>>> {
        let program = self.program()?;
        if !self.running(&program, id).await? {
            return Ok(None);
        }
        let State { defaults, .. } = state.decode(STATE_VERSION)?;
        let inside = Inside::new(program, id, &Place::named(&self.host, id));
        Ok(Some(Arc::new(AppleSandbox { inside, defaults, hold: None })))
    }

    async fn stop(&self, id: SandboxId, state: &DriverState, grace: Duration) -> Result<DriverState> {
        let program = self.program()?;
        if !self.running(&program, id).await? {
            return Ok(state.clone());
        }
        let State { main, .. } = state.decode(STATE_VERSION)?;
        let inside = Inside::new(program.clone(), id, &Place::named(&self.host, id));
        let tenths = (grace.as_millis() / 100).to_string();
        // Without its number the main process would be waited for like any other.
        let main = main.map_or_else(|| "1".to_owned(), |main| main.to_string());
        let words = inside.script(scripts::END, &[], &[&main, &tenths]);
        // Whatever comes of it, what is left is killed.
        let _ = program.ask(&words, grace + QUICK).await;
        self.end(&program, &inside.name).await?;
        Ok(state.clone())
    }

    async fn destroy(&self, id: SandboxId, _state: Option<&DriverState>) -> Result<()> {
        if places::was_used(&self.host, ID) {
            self.remove(&marks::name(id)).await?;
        }
        Place::named(&self.host, id).remove().await?;
        Place::ephemeral(&self.host, id).remove().await
    }

    async fn list_owned(&self) -> Result<Vec<Owned>> {
        if !places::was_used(&self.host, ID) {
            return Ok(Vec::new());
        }
        let program = self.program()?;
        self.sweep().await;
        let owner = places::owner_mark(&self.host);
        let mut owned = Vec::new();
        for container in answers::list(&program).await? {
            let Some(Ok(id)) = container.label(marks::SANDBOX).map(SandboxId::parse) else { continue };
            if container.label(marks::OWNER) != Some(&owner) || container.id != marks::name(id) {
                continue;
            }
            // One that lives is somebody's; those that do not were swept.
            let ephemeral = container.label(marks::EPHEMERAL).is_some();
            if ephemeral && Place::ephemeral(&self.host, id).path().exists() {
                continue;
            }
            owned.push(Owned { id, state: DriverState::encode(STATE_VERSION, &())? });
        }
        Ok(owned)
    }

    async fn run_once(
        &self,
        inputs: CreateInputs,
        command: &ExecSpec,
        _gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<Process> {
        ephemeral::run(self, inputs, command).await
    }
}
