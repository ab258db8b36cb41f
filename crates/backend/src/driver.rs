//! Drivers, backends, and the registry that names them.

use crate::{
    admit::{Admitted, Refusal},
    gateway::Gateway,
    host::Host,
    process::Process,
    rootfs::Lease,
    sandbox::Sandbox,
    state::DriverState,
};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::{Boundary, Capabilities, Class},
    command::ExecSpec,
    id::{BackendId, SandboxId},
    limits::Limits,
    spec::SandboxSpec,
    suggest,
    text::printable,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// A backend before it is built: data and a constructor.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    pub id: &'static str,
    pub aliases: &'static [&'static str],
    pub class: Class,
    pub isolation: Boundary,
    /// The order of automatic selection, lowest first; `None` is used only when named.
    pub auto_rank: Option<u8>,
    pub build: fn(&Host) -> Result<Arc<dyn Backend>>,
}

/// Whether a backend works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "health")]
pub enum Health {
    /// Nothing of it is on this machine.
    Undetected { reason: String },
    /// It is there and does not work.
    Unhealthy { reason: String, hint: String },
    /// It really ran something; `attributes` is what it found, for `doctor`.
    Healthy { attributes: BTreeMap<String, String> },
}

impl Health {
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        matches!(self, Self::Healthy { .. })
    }
}

/// Whether sandboxes that were started before anybody asked for them make runs faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// Starting one costs much more than a command in one that is up.
    Worthwhile,
    /// It costs about as little.
    Pointless,
}

/// What a new sandbox is made from.
#[derive(Debug)]
pub struct CreateInputs {
    pub admitted: Admitted,
    pub id: SandboxId,
    pub rootfs: Lease,
}

/// A sandbox that a backend found by its own marks.
#[derive(Debug, Clone)]
pub struct Owned {
    pub id: SandboxId,
    pub state: DriverState,
}

/// One way to isolate. Built once per process; all methods take `&self` and may run at once.
///
/// Unless a method says otherwise, cancelling it leaves what `destroy` can remove by the sandbox's id.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    fn id(&self) -> BackendId;

    /// What it can do on this machine. Cheap after the first call.
    fn capabilities(&self) -> Capabilities;

    /// Really tries: makes a sandbox, mounts, runs something, and removes it.
    async fn probe(&self) -> Health;

    /// Whether what this backend's sandboxes live in answers, such as the server of an engine. Cheap: at most one
    /// connection. Nothing is started or changed, and cancelling it leaves nothing. Backends without a server always
    /// answer.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such server on this machine, so that nothing can be in it either; any other kind
    /// when there is one that does not answer. The message says why, the hint how to bring it back.
    async fn reach(&self) -> Result<()> {
        Ok(())
    }

    /// Measures `spec` against [`Backend::capabilities`]. Pure: no side effects.
    ///
    /// # Errors
    /// Every part of the spec that cannot be enforced.
    fn admit(&self, spec: &SandboxSpec) -> Result<Admitted, Vec<Refusal>>;

    /// Removes what this backend keeps only to be faster and nothing uses, such as an engine's copies of images; the bytes
    /// that were freed. What belongs to a sandbox or to others stays.
    ///
    /// # Errors
    /// When something could not be removed; calling again continues.
    async fn prune(&self) -> Result<u64> {
        Ok(0)
    }

    /// Whether the daemon should keep sandboxes of this backend warm. One that is taken from there was brought up by
    /// [`Backend::create`] and [`Backend::start`], and gets its one command through [`Backend::attach`]: all three roads
    /// must give a command the same.
    fn pool(&self) -> Pooling {
        Pooling::Pointless
    }

    /// Makes the durable parts of a sandbox; nothing runs yet. Every resource carries `inputs.id`.
    ///
    /// # Errors
    /// After an error nothing is left.
    async fn create(&self, inputs: CreateInputs) -> Result<DriverState>;

    /// Brings a created or stopped sandbox up. Idempotent. The caller is its keeper, and the returned handle is what
    /// keeps the sandbox up, where the backend's sandboxes are processes of this machine: when the handle is dropped or
    /// the process ends, for whatever reason, the sandbox ends with it.
    ///
    /// # Errors
    /// After an error the sandbox is stopped and its disk as before. `Conflict` when another process is its keeper.
    async fn start(
        &self,
        inputs: CreateInputs,
        state: &DriverState,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<(DriverState, Arc<dyn Sandbox>)>;

    /// Finds a running sandbox again, from any process. `None` when it is not running.
    ///
    /// # Errors
    /// When that cannot be told.
    async fn attach(&self, id: SandboxId, state: &DriverState) -> Result<Option<Arc<dyn Sandbox>>>;

    /// Ends all processes: SIGTERM, and SIGKILL after `grace`. The disk stays. Stopping what is stopped succeeds.
    ///
    /// # Errors
    /// When processes could not be ended.
    async fn stop(&self, id: SandboxId, state: &DriverState, grace: Duration) -> Result<DriverState>;

    /// Has `limits` hold for a sandbox that exists, running or stopped, from when this returns. [`Backend::admit`] has taken
    /// them, in the sandbox's whole spec, which later starts get.
    ///
    /// # Errors
    /// `Unsupported` where limits are fixed when a sandbox is made; `Conflict` for less memory than it cannot do without now.
    /// After an error those that held before are to be set again.
    async fn resize(&self, id: SandboxId, state: &DriverState, limits: &Limits) -> Result<()> {
        let _ = (id, state, limits);
        Err(Error::new(
            Kind::Unsupported,
            format!("backend '{}' cannot change the limits of a sandbox that exists", self.id()),
        )
        .with_hint("make another one: 'agentkernel sandbox create --memory SIZE --cpus NUMBER'"))
    }

    /// Removes every trace, running or not. Destroying what does not exist succeeds. `state` is `None` when a crash
    /// lost it: the marks with `id` are then all there is to go by.
    ///
    /// # Errors
    /// When something could not be removed; calling again continues.
    async fn destroy(&self, id: SandboxId, state: Option<&DriverState>) -> Result<()>;

    /// Every sandbox that carries this user's marks, for leak hunting. Ephemeral leftovers of dead processes are
    /// removed on the way; an ephemeral run of `run_once` that lives is not among the answers, since who gets them
    /// destroys what has no record.
    ///
    /// # Errors
    /// When the marks cannot be read.
    async fn list_owned(&self) -> Result<Vec<Owned>>;

    /// The short road of ephemeral runs: isolates, runs one command and leaves nothing, whatever happens, also when
    /// this process is killed. Same policy as `create`, `start` and `exec`.
    ///
    /// # Errors
    /// After an error nothing is left.
    async fn run_once(
        &self,
        inputs: CreateInputs,
        command: &ExecSpec,
        gateway: Option<Arc<dyn Gateway>>,
    ) -> Result<Process>;
}

/// The drivers of this binary, by id and alias.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    drivers: Vec<Driver>,
}

impl Registry {
    #[must_use]
    pub fn new(drivers: &[Driver]) -> Self {
        Self { drivers: drivers.to_vec() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Driver> {
        self.drivers.iter()
    }

    /// Those that are chosen automatically, best first.
    #[must_use]
    pub fn ranked(&self) -> Vec<&Driver> {
        let mut ranked: Vec<&Driver> = self.drivers.iter().filter(|d| d.auto_rank.is_some()).collect();
        ranked.sort_by_key(|d| d.auto_rank);
        ranked
    }

    /// The driver of that id or alias, in any case.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with the nearest known name.
    pub fn find(&self, name: &str) -> Result<&Driver> {
        let lower = name.to_ascii_lowercase();
        let found = self.drivers.iter().find(|d| d.id == lower || d.aliases.contains(&lower.as_str()));
        found.ok_or_else(|| {
            let known: Vec<&str> = self.drivers.iter().map(|d| d.id).collect();
            Error::new(Kind::Invalid, format!("there is no backend '{}' in this build", printable(name)))
                .with_hint(suggest::hint(name, &known))
        })
    }
}
