//! The engine: one value per process, cheap to make, safe to share.

use crate::{
    create, doctor, exec, gc, keeper, lifecycle, query,
    request::{
        BackendReport, Check, Choice, CreateRequest, Effect, Filter, GcReport, RunRequest, Running,
        SandboxInfo, Stopped,
    },
    run, select,
};
use agentkernel_backend::{Backend, Driver, Host, Process, Registry};
use agentkernel_image::HostFacts;
use agentkernel_model::{Result, command::ExecSpec, id::SandboxId, name::SandboxName, spec::SandboxSpec};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

#[derive(Debug)]
pub struct Engine {
    pub(crate) host: Host,
    pub(crate) registry: Registry,
    /// For the built-in `host` image.
    pub(crate) facts: HostFacts,
    /// Each backend is built once, when it is first needed.
    built: Mutex<BTreeMap<&'static str, Arc<dyn Backend>>>,
}

impl Engine {
    /// Does no I/O: directories and the database are made when first needed.
    #[must_use]
    pub fn new(host: Host, registry: Registry, facts: HostFacts) -> Self {
        Self { host, registry, facts, built: Mutex::default() }
    }

    /// The backend of `driver`.
    pub(crate) fn backend(&self, driver: &Driver) -> Result<Arc<dyn Backend>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = built.get(driver.id) {
            return Ok(Arc::clone(backend));
        }
        let backend = (driver.build)(&self.host)?;
        built.insert(driver.id, Arc::clone(&backend));
        Ok(backend)
    }

    /// Which backend would take `spec`; starts nothing. For `--dry-run`.
    ///
    /// # Errors
    /// [`Kind::Invalid`](agentkernel_model::Kind::Invalid) for an unknown backend,
    /// [`Kind::Unsupported`](agentkernel_model::Kind::Unsupported) with every reason when none admits it.
    pub async fn choose(&self, spec: &SandboxSpec, backend: Option<&str>) -> Result<Choice> {
        select::select(self, spec, backend).await.map(|selected| selected.choice)
    }

    /// One command in a sandbox that is gone when it ends. No database, no supervisor.
    ///
    /// # Errors
    /// After an error nothing is left. Cancelling leaves at most what [`Engine::gc`] finds.
    pub async fn run(&self, request: RunRequest) -> Result<Running> {
        run::run(self, request).await
    }

    /// Makes a sandbox and does not start it.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`](agentkernel_model::Kind::AlreadyExists) when the name is taken. After an error nothing is
    /// left; what cancelling leaves is undone by [`Engine::gc`], or by the next `create` of that name.
    pub async fn create(&self, request: CreateRequest) -> Result<SandboxInfo> {
        create::create(self, request).await
    }

    /// Idempotent. Cancelling does not stop a start that is under way.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Conflict` when it has expired, or a port is taken.
    pub async fn start(&self, name: &SandboxName) -> Result<SandboxInfo> {
        lifecycle::start(self, name).await
    }

    /// Keeps the disk. Idempotent. Without `grace` it is killed at once.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Timeout` when its keeper does not answer.
    pub async fn stop(&self, name: &SandboxName, grace: Duration) -> Result<SandboxInfo> {
        lifecycle::stop(self, name, grace).await
    }

    /// Removes a sandbox, running or not, and everything of it. One that a crash left half removed can be removed.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); after any other error, calling again continues.
    pub async fn remove(&self, name: &SandboxName) -> Result<()> {
        lifecycle::remove(self, name).await
    }

    /// By name. What is only being created is left out.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<SandboxInfo>> {
        query::list(self, filter)
    }

    /// One sandbox with its whole spec.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound).
    pub async fn info(&self, name: &SandboxName) -> Result<SandboxInfo> {
        query::info(self, name)
    }

    /// A command in a running sandbox; `Conflict` with a hint when it is stopped.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), `Conflict`, and those of
    /// [`Sandbox::exec`](agentkernel_backend::Sandbox::exec).
    pub async fn exec(&self, name: &SandboxName, command: &ExecSpec) -> Result<Process> {
        exec::exec(self, name, command).await
    }

    /// Removes what has expired and what crashes left. Running sandboxes that have not expired are never touched,
    /// stopped ones only with [`Stopped::Remove`]. With a filter, only sandboxes that it matches.
    ///
    /// # Errors
    /// When the records cannot be read. What could not be removed stands in [`GcReport::failures`].
    pub async fn gc(&self, filter: &Filter, stopped: Stopped, effect: Effect) -> Result<GcReport> {
        gc::gc(self, filter, stopped, effect).await
    }

    /// Probes every backend of this build, anew.
    ///
    /// # Errors
    /// When the findings cannot be written down.
    pub async fn backends(&self) -> Result<Vec<BackendReport>> {
        doctor::backends(self).await
    }

    /// Looks at backends, sandboxes and storage.
    ///
    /// # Errors
    /// When nothing can be looked at; what is wrong with a part is a [`Check`].
    pub async fn doctor(&self) -> Result<Vec<Check>> {
        doctor::doctor(self).await
    }

    /// The keeper process of one named sandbox: what the hidden verb `keeper` runs. Returns when the sandbox is gone.
    /// Takes over stdin and stdout of the process and leaves its session: call it first thing, and only there.
    ///
    /// # Errors
    /// Why the sandbox could not be started, or stopped in order.
    pub async fn keep(&self, id: SandboxId) -> Result<()> {
        keeper::keep(self, id).await
    }
}
