//! How callers of a server reach secrets: by name only, and only as far as their owner wrote down.

use agentkernel_engine::{Engine, request::SandboxInfo, values::Values};
use agentkernel_model::{
    Result,
    secret::{HeaderName, HostPattern, Secret, SecretBinding, SecretName},
};
use async_trait::async_trait;
use std::fmt;

/// What was asked for with a sandbox.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub bindings: Vec<SecretBinding>,
    pub files: Vec<SecretName>,
}

impl Wanted {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.files.is_empty()
    }
}

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub name: SecretName,
    pub hosts: Vec<HostPattern>,
    pub header: Option<HeaderName>,
    /// Seconds since 1970.
    pub set_at: u64,
}

/// The owner's vaults, seen by callers of a server. The server's own environment is never asked.
#[async_trait]
pub trait SecretBroker: Send + Sync + fmt::Debug {
    /// The values of `wanted`. Blocks.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Denied`] for a host that the vault does not list for the secret, also where it lists none;
    /// `NotFound` for a secret that is not there.
    fn values(&self, wanted: &Wanted) -> Result<Values>;

    /// Keeps the values that callers gave for a new sandbox, encrypted, for its next starts.
    ///
    /// # Errors
    /// When they cannot be kept.
    async fn keep(&self, engine: &Engine, info: &SandboxInfo, wanted: &Wanted) -> Result<()>;

    /// The values for a start of the sandbox of `info`; none for one that runs.
    ///
    /// # Errors
    /// As [`SecretBroker::values`].
    async fn of_existing(&self, engine: &Engine, info: &SandboxInfo) -> Result<Values>;

    /// What the vault holds. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&self) -> Result<Vec<About>>;

    /// Puts a value into the vault. Blocks.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Conflict`] for one that the owner set; when it cannot be written.
    fn set(&self, name: &SecretName, value: Secret, hosts: Vec<HostPattern>) -> Result<()>;

    /// Whether it was there. Blocks.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Conflict`] for one that the owner set; when the vault cannot be written.
    fn delete(&self, name: &SecretName) -> Result<bool>;
}
