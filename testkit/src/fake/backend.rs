//! The backend itself.

use super::{
    DRIVER,
    command::{Fate, start},
    control::{FakeControl, Step},
    keeper::{self, Link},
    run::{Ephemeral, ephemeral},
    sandbox::FakeSandbox,
    store::{Home, Plan},
};
use crate::proc::{self, Ending};
use agentkernel_backend::{
    Admitted, Backend, CreateInputs, DriverState, Gateway, Health, Host, Owned, Pooling, Process, Refusal,
    Sandbox, admit::admit,
};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::{Boundary, Capabilities, Egress, Support},
    command::ExecSpec,
    id::{BackendId, SandboxId},
    limits::Limits,
    spec::SandboxSpec,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

const STATE_VERSION: u32 = 1;

/// What the engine keeps for a fake sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// How often it was started: a state that moves, as those of real backends do.
    starts: u32,
}

/// See the [module](super).
#[derive(Debug)]
pub struct FakeBackend {
    id: &'static str,
    host: Host,
    capabilities: Capabilities,
    pooling: Pooling,
    control: FakeControl,
    /// The sandboxes that this value keeps.
    kept: Mutex<BTreeSet<SandboxId>>,
}

pub(super) fn build(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(FakeBackend::new(host.clone())))
}

/// What the fake backend really can do, which is little: what needs isolation it cannot.
#[must_use]
pub const fn honest_capabilities() -> Capabilities {
    Capabilities {
        boundary: Boundary::None,
        egress: Egress::OffOnly,
        limit_memory: Support::No,
        limit_cpus: Support::No,
        limit_pids: Support::No,
        users: Support::No,
        mounts: Support::No,
        workspace_view: Support::No,
        read_only_root: Support::No,
        image_changes: Support::No,
        own_files: Support::Yes,
        terminal: Support::Yes,
        publish_ports: Support::Yes,
        named: Support::Yes,
        runtimes: Support::No,
    }
}

impl FakeBackend {
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self::claiming(host, honest_capabilities())
    }

    /// One that CLAIMS `capabilities`, true or not: for tests of what stands above the seam only.
    #[must_use]
    pub fn claiming(host: Host, capabilities: Capabilities) -> Self {
        Self::named(DRIVER.id, host, capabilities)
    }

    /// As [`Self::claiming`], one of several beside each other: sandboxes, faults and counts are its own.
    #[must_use]
    pub fn named(id: &'static str, host: Host, capabilities: Capabilities) -> Self {
        let control = FakeControl::of(&host.data, id);
        Self { id, host, capabilities, pooling: Pooling::Pointless, control, kept: Mutex::default() }
    }

    /// The same, which says so of keeping its sandboxes warm.
    #[must_use]
    pub fn with_pooling(self, pooling: Pooling) -> Self {
        Self { pooling, ..self }
    }

    /// Faults and counts of this backend.
    #[must_use]
    pub const fn control(&self) -> &FakeControl {
        &self.control
    }

    fn home(&self, id: SandboxId) -> Home {
        Home { id, path: self.host.sandbox_dir(id).join(self.id) }
    }

    fn keeps(&self, id: SandboxId) -> bool {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    async fn open(&self, home: Home) -> Result<Option<FakeSandbox>> {
        if !home.exists() {
            return Ok(None);
        }
        let Some(link) = Link::open(&home).await? else { return Ok(None) };
        let plan = home.plan()?;
        Ok(Some(FakeSandbox::new(home, plan, link, self.control.clone())))
    }

    /// Removes the ephemeral runs whose owner is dead.
    fn sweep_runs(&self) -> Result<()> {
        for home in homes(&self.host.runs_dir(), Path::to_path_buf)? {
            // Locked: its owner lives.
            if home.try_lock()?.is_some() {
                home.kill_all()?;
                home.remove()?;
            }
        }
        Ok(())
    }
}

/// The homes below `directory`, one per sandbox id; `place` leads from the id's directory to the home.
fn homes(directory: &Path, place: impl Fn(&Path) -> PathBuf) -> Result<Vec<Home>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|e| Error::io(format!("cannot list '{}'", directory.display()), e))?,
    };
    let home = |e: fs::DirEntry| {
        let id = SandboxId::parse(e.file_name().to_str()?).ok()?;
        Some(Home { id, path: place(&e.path()) })
    };
    Ok(entries.filter_map(Result::ok).filter_map(home).filter(|h| h.path.exists()).collect())
}

/// Only what a gateway could be given: the fake has no network of its own to lead into one.
fn refuse_gateway(gateway: Option<&Arc<dyn Gateway>>) -> Result<()> {
    match gateway {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(Kind::Unsupported, "the fake backend has no network that a gateway could serve")
                .with_hint("add --no-network"))
        }
    }
}

#[async_trait]
impl Backend for FakeBackend {
    fn id(&self) -> BackendId {
        BackendId::new(self.id)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn pool(&self) -> Pooling {
        self.pooling
    }

    async fn probe(&self) -> Health {
        match self.control.pass(Step::Probe).await {
            Ok(()) => {
                Health::Healthy { attributes: BTreeMap::from([("isolation".to_owned(), "none".to_owned())]) }
            }
            Err(e) => Health::Unhealthy { reason: e.to_string(), hint: "heal the fake backend".to_owned() },
        }
    }

    async fn reach(&self) -> Result<()> {
        let silent = |e: Error| Error::new(e.kind(), e.to_string()).with_hint("heal the fake backend");
        self.control.pass(Step::Reach).await.map_err(silent)
    }

    fn admit(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>> {
        let fault = self.control.pass_now(Step::Admit).err();
        let extra = fault.map(|e| Refusal::new(e.to_string(), "heal the fake backend")).into_iter().collect();
        admit(&self.id(), spec, &self.capabilities, extra)
    }

    async fn create(&self, inputs: CreateInputs) -> Result<DriverState> {
        self.control.pass(Step::Create).await?;
        let home = self.home(inputs.id);
        if home.exists() {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("there is a fake sandbox {} already", inputs.id),
            ));
        }
        home.make(&Plan::of(&inputs))?;
        let made = self.control.pass(Step::CreateMade).await;
        if made.is_err() {
            home.remove()?;
        }
        made?;
        DriverState::encode(STATE_VERSION, &State { starts: 0 })
    }

    async fn start(
        &self,
        inputs: CreateInputs,
        state: &DriverState,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<(DriverState, Arc<dyn Sandbox>)> {
        self.control.pass(Step::Start).await?;
        refuse_gateway(gateway.as_ref())?;
        let mut known: State = state.decode(STATE_VERSION)?;
        let home = self.home(inputs.id);
        home.plan()?;
        match home.try_lock()? {
            Some(lock) => {
                // What a keeper that was killed left behind.
                home.kill_all()?;
                drop(keeper::keep(&home, lock)?);
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(inputs.id);
                known.starts += 1;
            }
            None if self.keeps(inputs.id) => {}
            None => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("another process keeps the sandbox {}", inputs.id),
                )
                .with_hint("agentkernel sandbox stop NAME"));
            }
        }
        if let Err(fault) = self.control.pass(Step::StartUp).await {
            keeper::release(&home).await?;
            return Err(fault);
        }
        let id = inputs.id;
        let sandbox = self.open(home).await?;
        let sandbox =
            sandbox.ok_or_else(|| Error::internal(format!("the fake sandbox {id} ended as it started")))?;
        Ok((DriverState::encode(STATE_VERSION, &known)?, Arc::new(sandbox)))
    }

    async fn attach(&self, id: SandboxId, state: &DriverState) -> Result<Option<Arc<dyn Sandbox>>> {
        self.control.pass(Step::Attach).await?;
        state.decode::<State>(STATE_VERSION)?;
        let home = self.home(id);
        let found = self.open(home.clone()).await?;
        if found.is_none() {
            home.kill_all()?;
        }
        Ok(found.map(|s| Arc::new(s) as Arc<dyn Sandbox>))
    }

    async fn stop(&self, id: SandboxId, state: &DriverState, grace: Duration) -> Result<DriverState> {
        self.control.pass(Step::Stop).await?;
        let home = self.home(id);
        end_commands(&home, grace).await?;
        keeper::release(&home).await?;
        // A command that was started between the two.
        home.kill_all()?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(state.clone())
    }

    async fn resize(&self, id: SandboxId, state: &DriverState, _limits: &Limits) -> Result<()> {
        self.control.pass(Step::Resize).await?;
        state.decode::<State>(STATE_VERSION)?;
        self.home(id).plan().map(drop)
    }

    async fn destroy(&self, id: SandboxId, _state: Option<&DriverState>) -> Result<()> {
        self.control.pass(Step::Destroy).await?;
        let home = self.home(id);
        if !home.path.exists() {
            return Ok(());
        }
        home.kill_all()?;
        keeper::release(&home).await?;
        home.kill_all()?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        home.remove()
    }

    async fn list_owned(&self) -> Result<Vec<Owned>> {
        self.control.pass(Step::ListOwned).await?;
        self.sweep_runs()?;
        let state = DriverState::encode(STATE_VERSION, &State { starts: 0 })?;
        let homes = homes(&self.host.data.join("sandboxes"), |p| p.join(self.id))?;
        Ok(homes.into_iter().map(|h| Owned { id: h.id, state: state.clone() }).collect())
    }

    async fn run_once(
        &self,
        inputs: CreateInputs,
        command: &ExecSpec,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<Process> {
        self.control.pass(Step::RunOnce).await?;
        refuse_gateway(gateway.as_ref())?;
        let plan = Plan::of(&inputs);
        let home = Home { id: inputs.id, path: self.host.runs_dir().join(inputs.id.to_string()) };
        fs::create_dir_all(&home.path).map_err(|e| Error::io("cannot make the directory of a run", e))?;
        let begun = begin(&home, &plan, command);
        if begun.is_err() {
            home.remove()?;
        }
        begun
    }
}

fn begin(home: &Home, plan: &Plan, command: &ExecSpec) -> Result<Process> {
    let lock = home.try_lock()?;
    let lock =
        lock.ok_or_else(|| Error::new(Kind::Conflict, format!("the run {} is under way already", home.id)))?;
    home.make(plan)?;
    let started = start(home, plan, command, Fate::DiesWithCaller)?;
    let session = started.session();
    let owner = Ephemeral::new(home.clone(), session, lock);
    home.note_session(session)?;
    ephemeral(started, owner)
}

/// SIGTERM to every command, and SIGKILL to what is left after `grace`.
async fn end_commands(home: &Home, grace: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + grace;
    let mut waiting: Vec<OwnedFd> = Vec::new();
    for session in home.sessions()? {
        let signalled = proc::signal_session(session, rustix::process::Signal::TERM);
        waiting.extend(signalled.map_err(|e| Error::io("cannot end a command of a fake sandbox", e))?);
    }
    for handle in waiting {
        let ended = Ending::watch(handle).map_err(|e| Error::io("cannot watch a command", e))?;
        if tokio::time::timeout_at(deadline, ended.wait()).await.is_err() {
            break;
        }
    }
    home.kill_all()
}
