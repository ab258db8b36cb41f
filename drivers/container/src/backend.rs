//! The seam's side of this driver.

use crate::{
    delivery::{self, Sweep},
    engine::{Absence, Engine, Setup},
    fault,
    flavor::Flavor,
    image, installation,
    launch::{self, Found, Work},
    mounts::{self, Overlays},
    once,
    places::{self, Place},
    plan::{self, AgentFiles, Materials},
    probe,
    sandbox::{Accounts, ContainerSandbox, SameIds},
    seccomp,
    sources::{Numbers, Sources},
    stream, volumes, workspace,
};
use agentkernel_backend::{
    Admitted, Backend, CreateInputs, DriverState, Gateway, Health, Host, Owned, Pooling, Process, Refusal,
    Sandbox,
};
use agentkernel_guest::{
    agent::Road,
    client::{self, Client},
    defaults::Defaults,
};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::{Boundary, Capabilities, Egress, Support},
    command::ExecSpec,
    id::{BackendId, SandboxId},
    limits::Limits,
    spec::{Lifetime, SandboxSpec},
};
use async_trait::async_trait;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, fs, pin::pin, sync::Arc, time::Duration};

/// Version 1 of this driver's state.
const STATE_VERSION: u32 = 1;
/// How long a healthy agent takes for anything at most.
pub(crate) const STUCK: Duration = Duration::from_secs(10);
/// Exists once the files of a named sandbox are in place: from then on they are its own.
const FILLED_FILE: &str = "filled";

#[derive(Debug, Serialize, Deserialize)]
struct State {
    defaults: Defaults,
    #[serde(default)]
    road: Road,
    /// Where its engine is, unless that is this machine's own.
    #[serde(default)]
    engine: Option<String>,
}

impl State {
    /// # Errors
    /// [`Kind::Conflict`] when `engine` is not the one that has the sandbox.
    fn check(&self, engine: &Engine) -> Result<()> {
        if self.engine == engine.address() {
            return Ok(());
        }
        let place = |address: Option<&str>| {
            address.map_or_else(|| "on this machine".to_owned(), |a| format!("at {a}"))
        };
        let (theirs, ours) = (place(self.engine.as_deref()), place(Some(&engine.way.to_string())));
        let error = format!("the sandbox is in the engine {theirs}, and the one that is used now is {ours}");
        let hint = match &self.engine {
            Some(address) => format!("set DOCKER_HOST or CONTAINER_HOST to {address}, or use its context"),
            None => "unset DOCKER_HOST and CONTAINER_HOST, or use the default context".to_owned(),
        };
        Err(Error::new(Kind::Conflict, error).with_hint(hint))
    }
}

/// One engine.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    id: &'static str,
    pub(crate) flavor: Flavor,
    pub(crate) host: Host,
    pub(crate) setup: Arc<Setup>,
}

impl Container {
    pub(crate) fn new(id: &'static str, flavor: Flavor, host: &Host) -> Self {
        Self { id, flavor, host: host.clone(), setup: Arc::default() }
    }

    /// # Errors
    /// When there is none that can be used.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        Ok(self.ready().await?)
    }

    pub(crate) async fn ready(&self) -> Result<&Engine, Absence> {
        self.setup.ready(self.flavor, &self.host).await
    }

    fn find(&self) -> Result<&Engine, Absence> {
        self.setup.engine(self.flavor, &self.host)
    }

    /// The engine, as far as it is known without asking.
    pub(crate) fn known(&self) -> Result<&Engine, Absence> {
        self.setup.known(self.flavor, &self.host)
    }

    pub(crate) fn same_ids(&self, engine: &Engine) -> SameIds {
        let root = self.host.uid == 0 && !engine.facts.rootless && !engine.facts.remapped;
        let same = root && !engine.is_elsewhere();
        if same { SameIds::Yes } else { SameIds::No }
    }

    pub(crate) fn overlays(&self, engine: &Engine, spec: &SandboxSpec) -> Overlays {
        self.flavor.overlays(&engine.facts, engine.sight, self.host.uid, spec.lifetime)
    }

    /// Looks at what of this machine `spec` shows.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub(crate) fn sources(&self, engine: &Engine, spec: &SandboxSpec) -> Result<Sources> {
        let same = stream::shares_kernel(plan::runtime(engine, spec));
        let numbers = if same { Numbers::Same } else { Numbers::Others };
        Sources::open(spec, self.overlays(engine, spec), numbers)
    }

    /// Has the engine make the container of `inputs`, not started.
    pub(crate) async fn make(&self, engine: &Engine, inputs: &CreateInputs, place: &Place) -> Result<()> {
        let made = match self.make_once(engine, inputs, place).await {
            // Between the look for its image and this no container held it, and a `clean --all` may have removed it.
            Err(error) if error.kind() == Kind::NotFound => self.make_once(engine, inputs, place).await,
            made => made,
        };
        match made {
            Err(error) if error.kind() == Kind::Unavailable => Err(self.unheard(error).await),
            made => made,
        }
    }

    /// The `error` of an engine that did not answer: where nothing listens any more, with the place and how to start it.
    async fn unheard(&self, error: Error) -> Error {
        match self.reach().await {
            Ok(()) => error,
            Err(why) => {
                let told = Error::new(Kind::Unavailable, error.message());
                let hint = why.hint().unwrap_or("agentkernel doctor").to_owned();
                told.with_source(why).with_hint(hint)
            }
        }
    }

    async fn make_once(&self, engine: &Engine, inputs: &CreateInputs, place: &Place) -> Result<()> {
        let (spec, rootfs) = (inputs.admitted.spec(), &inputs.rootfs.rootfs);
        self.confirm(spec)?;
        if engine.is_elsewhere() {
            mounts::check_elsewhere(&rootfs.grafts, &engine.way)?;
        }
        places::note_use(&self.host, self.flavor.name())?;
        let image = image::ensure(&engine.docker, rootfs, engine.image_owner(), place.path()).await?;
        // Held until the container has its volume.
        let delivered = match engine.is_elsewhere() {
            true => Some(delivery::ensure(engine, self.flavor, &self.host, &image).await?),
            false => None,
        };
        let level = spec.policy.seccomp;
        let seccomp = match (self.flavor, &delivered) {
            (Flavor::Docker, _) => seccomp::around_agent(level),
            // It takes the path of a file, on its own machine.
            (Flavor::Podman, None) => engine.profile(&self.host, &seccomp::around_agent(level))?,
            (Flavor::Podman, Some(delivered)) => delivered.profile(level),
        };
        let materials = Materials {
            flavor: self.flavor,
            facts: &engine.facts,
            inputs,
            image,
            owner: engine.owner.clone(),
            place,
            installation: &engine.installation,
            agent_files: match &delivered {
                Some(delivered) => AgentFiles::Volume(&delivered.volume),
                None => AgentFiles::Directory(&engine.installation.source),
            },
            road: plan::road(engine, spec),
            shares_kernel: stream::shares_kernel(plan::runtime(engine, spec)),
            seccomp,
            overlays: self.overlays(engine, spec),
        };
        // An engine may follow names as early as this.
        let sources = self.sources(engine, spec)?;
        let body = plan::container(&materials)?;
        let options = CreateContainerOptionsBuilder::default().name(&plan::name(inputs.id)).build();
        let made = engine.docker.create_container(Some(options), body).await;
        made.map_err(|e| fault::failed("make the container", e))?;
        sources.check()
    }

    fn sandbox(
        &self,
        engine: &Engine,
        id: SandboxId,
        State { defaults, road, .. }: State,
    ) -> ContainerSandbox {
        ContainerSandbox {
            client: Client::new(Place::named(&self.host, id).path().to_owned(), defaults),
            engine: engine.docker.clone(),
            name: plan::name(id),
            same_ids: self.same_ids(engine),
            accounts: if engine.facts.limits_memory { Accounts::Kept } else { Accounts::None },
            road,
            lifeline: None,
        }
    }

    /// Waits until the container of a sandbox that was told to end has ended; one that does not is killed.
    async fn ended(&self, engine: &Engine, name: &str) -> Result<()> {
        let options = || WaitContainerOptionsBuilder::default().condition("not-running").build();
        let wait = async {
            match pin!(engine.docker.wait_container(name, Some(options()))).next().await {
                // A code other than zero is an error of bollard's.
                Some(Err(e)) if !fault::is_end(&e) => {
                    Err(fault::failed("wait for the end of the container", e))
                }
                _ => Ok(()),
            }
        };
        if let Ok(ended) = tokio::time::timeout(STUCK, wait).await {
            return ended;
        }
        kill(engine, name).await
    }

    /// Removes ephemeral sandboxes whose processes are dead.
    async fn sweep(&self, engine: &Engine) {
        for (id, place) in places::abandoned(&self.host) {
            if launch::remove(engine, &plan::name(id)).await.is_ok() {
                let _ = place.remove().await;
            }
        }
    }
}

async fn kill(engine: &Engine, name: &str) -> Result<()> {
    let options = KillContainerOptionsBuilder::default().signal("KILL").build();
    match engine.docker.kill_container(name, Some(options)).await {
        // 409: it is not running.
        Err(e) if fault::is_missing(&e) || fault::status(&e) == Some(409) => Ok(()),
        other => other.map_err(|e| fault::failed("end the container", e)),
    }
}

#[async_trait]
impl Backend for Container {
    fn id(&self) -> BackendId {
        BackendId::new(self.id)
    }

    fn capabilities(&self) -> Capabilities {
        let engine = self.known().ok();
        let facts = engine.map(|engine| &engine.facts);
        let when = |test: bool| Support::from_test(test);
        let own_files = engine.is_some_and(|engine| {
            let overlays = self.flavor.overlays(&engine.facts, engine.sight, self.host.uid, Lifetime::Named);
            // Elsewhere an image has no files but its own.
            engine.is_elsewhere() || matches!(overlays, Overlays::Volumes | Overlays::Kept)
        });
        Capabilities {
            boundary: Boundary::Kernel,
            egress: Egress::HostGateway,
            limit_memory: when(facts.is_some_and(|f| f.limits_memory)),
            limit_cpus: when(facts.is_some_and(|f| f.limits_cpus)),
            limit_pids: when(facts.is_some_and(|f| f.limits_pids)),
            users: Support::Yes,
            mounts: when(!engine.is_some_and(Engine::is_elsewhere)),
            workspace_view: Support::Yes,
            read_only_root: Support::Yes,
            image_changes: when(own_files),
            own_files: Support::Yes,
            terminal: Support::Yes,
            publish_ports: Support::Yes,
            named: Support::Yes,
            runtimes: Support::Yes,
        }
    }

    async fn probe(&self) -> Health {
        probe::probe(self).await
    }

    async fn reach(&self) -> Result<()> {
        self.setup.reach(self.flavor, &self.host).await
    }

    async fn prune(&self) -> Result<u64> {
        let builds = installation::place(&self.host);
        let swept = tokio::task::spawn_blocking(move || installation::sweep(&builds)).await;
        let mut freed = swept.map_err(|e| Error::internal("a removal ended early").with_source(e))??;
        if !places::was_used(&self.host, self.flavor.name()) {
            return Ok(freed);
        }
        let engine = self.engine().await?;
        volumes::sweep(engine, &self.host).await?;
        if engine.is_elsewhere() {
            delivery::sweep(engine, self.flavor, &self.host, Sweep::All).await?;
        }
        for image in image::owned(&engine.docker, engine.image_owner()).await? {
            if image::remove(&engine.docker, &image).await? == image::Removal::Gone {
                freed = freed.saturating_add(image.bytes());
            }
        }
        Ok(freed)
    }

    /// A container takes a quarter of a second to start.
    fn pool(&self) -> Pooling {
        Pooling::Worthwhile
    }

    fn admit(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>> {
        match self.weigh(spec) {
            // Nothing is refused for what an engine could not do some time ago.
            Err(_) if self.setup.is_unasked() && self.find().is_ok() => self.weigh(spec),
            weighed => weighed,
        }
    }

    async fn create(&self, inputs: CreateInputs) -> Result<DriverState> {
        let engine = self.engine().await?;
        let place = Place::named(&self.host, inputs.id);
        let defaults = Defaults::of(inputs.admitted.spec(), &inputs.rootfs.rootfs)?;
        place.make()?;
        let made = self.make(engine, &inputs, &place).await;
        if made.is_err() {
            let _ = launch::remove(engine, &plan::name(inputs.id)).await;
            let _ = place.remove().await;
        }
        made?;
        let road = plan::road(engine, inputs.admitted.spec());
        DriverState::encode(STATE_VERSION, &State { defaults, road, engine: engine.address() })
    }

    async fn start(
        &self,
        inputs: CreateInputs,
        state: &DriverState,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<(DriverState, Arc<dyn Sandbox>)> {
        if let Some(running) = self.attach(inputs.id, state).await? {
            return Ok((state.clone(), running));
        }
        let engine = self.engine().await?;
        self.confirm(inputs.admitted.spec())?;
        let before: State = state.decode(STATE_VERSION)?;
        before.check(engine)?;
        // Those of this start: its rules may be others than those that it was made with.
        let defaults = Defaults::of(inputs.admitted.spec(), &inputs.rootfs.rootfs)?;
        let decoded = State { defaults, ..before };
        let state = DriverState::encode(STATE_VERSION, &decoded)?;
        let place = Place::named(&self.host, inputs.id);
        let name = plan::name(inputs.id);
        let sources = self.sources(engine, inputs.admitted.spec())?;
        if launch::find(engine, inputs.id).await? == Found::Foreign {
            return Err(launch::foreign(inputs.id));
        }
        // What a keeper left that was killed a moment ago.
        self.ended(engine, &name).await?;
        let filled = place.path().join(FILLED_FILE);
        let callers = Some(client::listener(place.path(), client::SOCKET)?);
        let files = if filled.exists() { Vec::new() } else { plan::files(engine, &inputs) };
        let work = Work { sources, callers, files, command: None, streams: Vec::new() };
        let lifeline = launch::bring_up(engine, &inputs, &place, work, gateway.as_ref()).await?;
        let mut sandbox = self.sandbox(engine, inputs.id, decoded);
        sandbox.lifeline = Some(Arc::new(lifeline));
        if !filled.exists() {
            if self.overlays(engine, inputs.admitted.spec()) == Overlays::Copied {
                workspace::fill(&sandbox.client, inputs.admitted.spec()).await?;
            }
            fs::write(&filled, "").map_err(|e| Error::io(format!("cannot write {}", filled.display()), e))?;
        }
        Ok((state, Arc::new(sandbox)))
    }

    async fn attach(&self, id: SandboxId, state: &DriverState) -> Result<Option<Arc<dyn Sandbox>>> {
        let place = Place::named(&self.host, id);
        if client::connect(place.path())?.is_none() {
            return Ok(None);
        }
        let decoded = state.decode(STATE_VERSION)?;
        let engine = self.setup.remembered(self.flavor, &self.host).await?;
        Ok(Some(Arc::new(self.sandbox(engine, id, decoded))))
    }

    async fn stop(&self, id: SandboxId, state: &DriverState, grace: Duration) -> Result<DriverState> {
        let engine = self.engine().await?;
        state.decode::<State>(STATE_VERSION)?.check(engine)?;
        let (place, name) = (Place::named(&self.host, id), plan::name(id));
        if launch::find(engine, id).await? == Found::Foreign {
            return Ok(state.clone());
        }
        match tokio::time::timeout(grace + STUCK, Client::stop(place.path(), grace)).await {
            Ok(told) => {
                told?;
            }
            Err(_) => kill(engine, &name).await?,
        }
        self.ended(engine, &name).await?;
        Ok(state.clone())
    }

    async fn resize(&self, id: SandboxId, state: &DriverState, limits: &Limits) -> Result<()> {
        let engine = self.engine().await?;
        state.decode::<State>(STATE_VERSION)?.check(engine)?;
        if launch::find(engine, id).await? == Found::Foreign {
            return Err(launch::foreign(id));
        }
        let body = plan::resized(&engine.facts, limits);
        match engine.docker.update_container(&plan::name(id), body).await {
            // Podman has no such request in the API that both speak, up to version 4.
            Err(e) if self.flavor == Flavor::Podman && fault::is_unknown_request(&e) => Err(Error::new(
                Kind::Unsupported,
                "this version of Podman cannot change the limits of a container that exists",
            )
            .with_hint("make another sandbox: 'agentkernel sandbox create --memory SIZE --cpus NUMBER'")),
            updated => updated.map_err(|e| fault::failed("change the limits of the container", e)),
        }
    }

    async fn destroy(&self, id: SandboxId, state: Option<&DriverState>) -> Result<()> {
        let engine = self.engine().await?;
        // One that was never complete says nothing of an engine.
        if let Some(Ok(state)) = state.map(|state| state.decode::<State>(STATE_VERSION)) {
            state.check(engine)?;
        }
        if launch::find(engine, id).await? != Found::Foreign {
            launch::remove(engine, &plan::name(id)).await?;
        }
        Place::named(&self.host, id).remove().await?;
        Place::ephemeral(&self.host, id).remove().await
    }

    async fn list_owned(&self) -> Result<Vec<Owned>> {
        if !places::was_used(&self.host, self.flavor.name()) {
            return Ok(Vec::new());
        }
        let engine = self.engine().await?;
        self.sweep(engine).await;
        if engine.is_elsewhere() {
            delivery::sweep(engine, self.flavor, &self.host, Sweep::Old).await?;
        }
        let mine = format!("{}={}", plan::OWNER_LABEL, engine.owner);
        let filters = HashMap::from([("label", vec![mine.as_str()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = engine.docker.list_containers(Some(options)).await;
        let found = found.map_err(|e| fault::failed("list the containers", e))?;
        let mut owned = Vec::new();
        for container in found {
            let labels = container.labels.unwrap_or_default();
            let Some(Ok(id)) = labels.get(plan::LABEL).map(|text| SandboxId::parse(text)) else { continue };
            // What somebody made from one of ours has its labels, and is theirs.
            let exact = |name: &String| name.trim_start_matches('/') == plan::name(id);
            if !container.names.unwrap_or_default().iter().any(exact) {
                continue;
            }
            // One that lives is somebody's; those that do not were swept.
            if labels.contains_key(plan::EPHEMERAL_LABEL) && Place::ephemeral(&self.host, id).path().exists()
            {
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
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<Process> {
        once::run(self, inputs, command, gateway).await
    }
}
