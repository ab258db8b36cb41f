//! What callers ask of the engine, and what they get.

use crate::values::Source;
use agentkernel_backend::Process;
use agentkernel_model::{
    capabilities::Capabilities,
    command::ExecSpec,
    id::{BackendId, DetachedId, SandboxId},
    name::{Label, SandboxName, VolumeName},
    port::PublishedPort,
    size::{ByteSize, Cpus},
    spec::SandboxSpec,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// One ephemeral run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    pub spec: SandboxSpec,
    pub command: ExecSpec,
    /// A backend's id or alias as typed; `None` chooses.
    pub backend: Option<String>,
    /// Of the secrets that `spec` has.
    pub values: Source,
    pub pool: Pool,
}

/// Whether a warm sandbox of the daemon may be used, where it has one just like the run's own would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    Use,
    Avoid,
}

/// A command that runs, and what was decided on the way.
#[derive(Debug)]
pub struct Running {
    pub process: Process,
    pub choice: Choice,
}

/// Which backend a spec went to.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    pub backend: BackendId,
    /// Lines for stderr: a stronger healthy backend that was passed over, and why.
    pub notes: Vec<String>,
    /// Default limits that are not enforced here.
    pub unenforced: Vec<String>,
}

/// A new named sandbox.
#[derive(Debug, Clone)]
pub struct CreateRequest {
    pub name: SandboxName,
    pub spec: SandboxSpec,
    pub backend: Option<String>,
    pub labels: Vec<Label>,
    pub ttl: Option<Duration>,
    pub description: Option<String>,
}

/// What becomes other about a sandbox. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxUpdate {
    /// In the place of all labels that there are.
    pub labels: Option<Vec<Label>>,
    /// `Some(None)`: it has none any more.
    pub description: Option<Option<String>>,
}

/// Other limits for a sandbox. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resize {
    pub memory: Option<ByteSize>,
    pub cpus: Option<Cpus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Running,
    Stopped,
    /// The backend cannot be asked; the reason stands in [`SandboxInfo::reason`].
    Unknown,
}

/// A sandbox as people and programs see it. Field names are those of the HTTP API.
#[derive(Debug, Clone, Serialize)]
pub struct SandboxInfo {
    pub name: SandboxName,
    pub uuid: SandboxId,
    pub status: Status,
    /// Why it is stopped or unknown, when that is not simply `sandbox stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub backend: BackendId,
    pub image: String,
    /// Processors that it may use, whole ones; `None` without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// In MiB; `None` without a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// RFC 3339, UTC.
    pub created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The whole time that it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PublishedPort>,
    /// Where its ports are reached from this machine; none of one that does not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unenforced: Vec<String>,
    /// The whole resolved spec and policy; only from `info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<SandboxSpec>,
}

/// A published port of a sandbox that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    pub container_port: u16,
    pub protocol: &'static str,
    /// Whoever listens inside may speak something else.
    pub url: String,
}

impl From<&PublishedPort> for Endpoint {
    fn from(port: &PublishedPort) -> Self {
        Self { container_port: port.guest, protocol: "tcp", url: format!("http://127.0.0.1:{}", port.host) }
    }
}

/// What is copied: a file, a directory, or with [`CopySource::contents`] only what is in the directory.
#[derive(Debug, Clone)]
pub struct CopySource<P> {
    pub path: P,
    /// It was written with `/.` at its end, as for cp(1).
    pub contents: bool,
}

/// A managed volume.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeInfo {
    pub name: VolumeName,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// Bytes on disk.
    pub used_bytes: u64,
    /// Names of the sandboxes that mount it.
    pub sandboxes: Vec<String>,
    /// Where its content is on this machine.
    pub path: PathBuf,
}

/// What a copy moved.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Copied {
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// Sockets and devices, which are never copied.
    pub skipped: u64,
}

impl SandboxInfo {
    /// The whole time that it was given.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_seconds.map(Duration::from_secs)
    }
}

/// How a detached command fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetachedStatus {
    Running,
    /// It ended with code 0.
    Completed,
    /// It ended in another way; [`DetachedInfo::exit_code`] and [`DetachedInfo::reason`] say how.
    Failed,
}

/// A command that a sandbox's keeper looks after. Field names are those of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachedInfo {
    pub id: DetachedId,
    pub sandbox: SandboxName,
    pub command: Vec<String>,
    /// Words are missing, or the last one is not whole: it was longer than is remembered.
    #[serde(default, skip_serializing_if = "is_false")]
    pub command_cut: bool,
    /// Its number inside the sandbox, where the backend tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub status: DetachedStatus,
    /// As shells report it, 128 and the signal's number for a signal; `None` while it runs, and when nobody saw its end.
    pub exit_code: Option<u8>,
    /// Why it ended, where the code does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub ended_at: Option<String>,
    /// Bytes of its output that the log does not have any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stdout_dropped: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stderr_dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// One of the two outputs of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DetachedStream {
    Stdout,
    Stderr,
}

impl DetachedStream {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Which sandboxes; all conditions must hold, none means all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub labels: Vec<Label>,
    /// Names equal to this or starting with it and `-`.
    pub project: Option<String>,
}

/// Whether to do it or only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Apply,
    DryRun,
}

/// Whether `gc` takes stopped sandboxes, whose disks were kept on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    Keep,
    Remove,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct GcReport {
    /// Names of removed (or, on a dry run, removable) sandboxes.
    pub removed: Vec<String>,
    /// Leftovers that belonged to no record.
    pub orphans: Vec<String>,
    /// What was left as it is because its backend does not answer, and why: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
    /// What could not be removed, and why: one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
    /// How many of `removed` and `orphans` together.
    pub count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    Ok,
    Info,
    Warning,
    Error,
}

/// One line of `doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The section it stands in: `backends`, `sandboxes`, `storage`.
    pub section: &'static str,
    pub name: String,
    pub status: CheckStatus,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// `setup --check`: which backend would be chosen, and what is wrong with the others.
#[derive(Debug, Clone, Serialize)]
pub struct BackendReport {
    pub id: String,
    pub healthy: bool,
    pub selected: bool,
    /// Its place in the order of automatic choice, lowest first; without one it is used only when named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u8>,
    /// What is wrong with it, or that it works.
    pub reason: String,
    /// What would make it work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// What it can do; only of one that works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

impl BackendReport {
    /// When it is used, for people; empty for one that does not work.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        match (self.healthy, self.selected, self.rank) {
            (false, ..) => "",
            (true, true, _) => "used when none is named",
            (true, false, Some(_)) => "used where a better one cannot run a sandbox, and when it is named",
            (true, false, None) => "used only when it is named",
        }
    }
}
