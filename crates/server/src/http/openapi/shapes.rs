//! Shapes of what is answered and is not the server's own type: values of the engine, which knows nothing of OpenAPI,
//! and the envelope. The tests of the server compare answers with them.
#![expect(dead_code, reason = "only their shapes are used")]

use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `data` as it is answered.
pub(super) fn envelope(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["success", "data"],
        "properties": {"success": {"type": "boolean", "const": true}, "data": data},
        "additionalProperties": false,
    })
}

/// The grammar of [`agentkernel_model::name::SandboxName`].
pub(crate) fn sandbox_name() -> Value {
    json!({"type": "string", "maxLength": 63, "pattern": "^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$"})
}

/// Every answer that is no success.
#[derive(Serialize, ToSchema)]
pub(crate) struct Failure {
    /// Always `false`.
    success: bool,
    /// What failed, on what.
    error: String,
    /// What a program can act on, such as `not_found` or `command_failed`.
    kind: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// A sandbox with a name.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SandboxInfo {
    name: String,
    uuid: String,
    status: SandboxStatus,
    /// Why it is stopped or unknown, when nobody stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    backend: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcpus: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// RFC 3339, UTC.
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<PublishedPort>,
    /// Where its ports are reached from the server's machine; none of one that does not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endpoints: Vec<Endpoint>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Default limits that are not enforced on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unenforced: Vec<String>,
    /// All that was decided about it; for one sandbox, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SandboxStatus {
    Running,
    Stopped,
    /// Its backend cannot be asked, or its record cannot be read.
    Unknown,
}

/// A port inside that is offered on 127.0.0.1.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedPort {
    host: u16,
    guest: u16,
}

/// A published port of a sandbox that runs.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Endpoint {
    container_port: u16,
    /// `tcp`.
    protocol: String,
    /// Whoever listens inside may speak something else.
    url: String,
}

/// How long the life of sandboxes took.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BenchmarkReport {
    /// RFC 3339, UTC.
    generated_at: String,
    image: String,
    measured_iterations: u32,
    warmup_iterations: u32,
    /// Which number backends are compared by; less is better.
    primary_metric: String,
    /// The mean of it over all backends that were measured; absent when none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_score: Option<f64>,
    backends: Vec<BackendBenchmark>,
}

/// One backend: what was measured, or why nothing was.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackendBenchmark {
    backend: String,
    available: bool,
    /// Why it was not measured, or not to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Milliseconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remove: Option<Milliseconds>,
    /// `create` and `start` together.
    #[serde(skip_serializing_if = "Option::is_none")]
    startup: Option<Milliseconds>,
    /// From `create` to `remove`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<Milliseconds>,
    /// One command in a sandbox of its own, as `POST /run` runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Milliseconds>,
}

/// Of all iterations that count; percentiles are by nearest rank.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Milliseconds {
    min_ms: f64,
    avg_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
}

/// What was removed.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GcReport {
    /// Names of sandboxes.
    removed: Vec<String>,
    /// Leftovers that belonged to no record.
    orphans: Vec<String>,
    /// What was left as it is, because its backend does not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
    /// What could not be removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<String>,
    count: usize,
}

/// An image on this machine.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRow {
    /// The digest of its configuration.
    id: String,
    names: Vec<String>,
    /// Such as `linux/amd64`.
    platform: String,
    size_bytes: u64,
    layers: usize,
    /// When its maker says it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    pulled_at: String,
    /// Names of sandboxes.
    used_by: Vec<String>,
}

/// What a prune removed.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Freed {
    images: Vec<ImageRow>,
    layers: usize,
    leftovers: usize,
    bytes: u64,
    /// Images that stay because something runs on them.
    in_use: usize,
}

/// A line of a log of events; which fields it has depends on the event.
#[derive(Serialize, ToSchema)]
pub(crate) struct LogEvent {
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

/// A command that nobody waits for.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetachedInfo {
    /// 8 hexadecimal digits.
    id: String,
    sandbox: String,
    command: Vec<String>,
    /// Words are missing: it was longer than is remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    command_cut: bool,
    /// Its number inside; 0 where nobody knows it.
    pid: u32,
    status: DetachedStatus,
    /// 128 and the signal's number for a signal; `null` while it runs.
    #[schema(required)]
    exit_code: Option<u8>,
    /// Why it ended, where the code does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// RFC 3339, UTC.
    started_at: String,
    #[schema(required)]
    ended_at: Option<String>,
    /// Bytes of its output that the log does not have any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stdout_dropped: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stderr_dropped: Option<u64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DetachedStatus {
    Running,
    /// It ended with code 0.
    Completed,
    Failed,
}

/// What is in a directory, by name.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileList {
    entries: Vec<FileEntry>,
    /// There is more than these.
    truncated: bool,
}

/// Something in a directory; links are not followed.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    name: String,
    kind: EntryKind,
    /// In bytes.
    size: u64,
    /// Permissions, as chmod(1) has them.
    mode: u32,
    /// Seconds since 1970.
    mtime: i64,
    /// Where a link leads, as it is written in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKind {
    File,
    Directory,
    Link,
    /// A device, pipe or socket.
    Other,
}

/// A coding agent, and whether it could work here.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentReport {
    name: String,
    title: String,
    /// The program by which it is found.
    program: String,
    installed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// `set` or `missing`.
    api_key: String,
    /// The names of keys that it can use.
    keys: Vec<String>,
}
