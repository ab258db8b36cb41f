//! What is remembered of a sandbox.

use agentkernel_model::{
    Error, Result,
    id::{BackendId, SandboxId},
    name::{Label, SandboxName},
    port::PublishedPort,
    spec::SandboxSpec,
};
use std::{collections::BTreeMap, time::Duration};

/// A sandbox that is about to be created.
#[derive(Debug, Clone)]
pub struct NewRecord<'a> {
    pub id: SandboxId,
    pub name: &'a SandboxName,
    pub backend: &'a BackendId,
    pub spec: &'a SandboxSpec,
    pub context: Option<&'a str>,
    pub labels: &'a [Label],
    pub description: Option<&'a str>,
    pub unenforced: &'a [String],
    /// Milliseconds since 1970-01-01 UTC.
    pub created_at: i64,
    /// `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// Who is creating it, for people to read.
    pub by: &'a str,
}

/// Work on a record that was begun and is not known to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    Create,
    Remove,
}

/// The status as it was last written down. Never believed on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cached {
    Running,
    Stopped,
}

/// What a stop leaves in the record.
#[derive(Debug, Clone, Copy)]
pub struct Stopped<'a> {
    /// The backend's new state.
    pub state: &'a str,
    /// Why; `None` when somebody asked for it.
    pub reason: Option<&'a str>,
}

/// The part of a record that a command in a running sandbox needs.
#[derive(Debug, Clone)]
pub struct Handle {
    pub id: SandboxId,
    pub backend: BackendId,
    /// `None` until the backend has created it.
    pub state: Option<String>,
    pub expires_at: Option<i64>,
    pub intent: Option<Intent>,
    /// Not running before everything is in place that belongs there before the first command.
    pub cached: Cached,
}

/// A whole record.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: SandboxId,
    pub name: SandboxName,
    pub backend: BackendId,
    pub context: Option<String>,
    /// The backend's opaque state; `None` until it has created the sandbox.
    pub state: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub description: Option<String>,
    pub unenforced: Vec<String>,
    /// Milliseconds since 1970-01-01 UTC, like every time here.
    pub created_at: i64,
    pub ttl: Option<Duration>,
    pub expires_at: Option<i64>,
    pub intent: Option<Intent>,
    pub intent_by: Option<String>,
    pub cached: Cached,
    pub reason: Option<String>,
    pub boot_id: Option<String>,
    /// The ports that are really listened on; empty unless running.
    pub ports: Vec<PublishedPort>,
    pub(crate) spec: String,
}

impl Record {
    /// The spec it was created from. Parsed here and not when the record is read, so that one record that this version
    /// cannot read hides no other.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Internal`] when a newer version wrote it or the database was edited.
    pub fn spec(&self) -> Result<SandboxSpec> {
        serde_json::from_str(&self.spec).map_err(|e| {
            Error::internal(format!("the record of sandbox '{}' cannot be read", self.name))
                .with_source(e)
                .with_hint("update agentkernel")
        })
    }

    /// Whether its time had passed at `now`.
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}
