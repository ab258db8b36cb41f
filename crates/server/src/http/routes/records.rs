//! What was done and what there is: the log of events, backends, doctor.

use crate::{
    App,
    http::{
        body::{Search, Segment},
        envelope::{Reply, ok},
    },
};
use agentkernel_engine::{
    agents::{self, AgentReport},
    audit::{AuditEntry, AuditQuery},
    request::{BackendReport, Check, CheckStatus},
};
use agentkernel_model::{Error, Result, name::SandboxName, secret::SecretName};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// How many events are answered unless the caller says.
const EVENTS: usize = 100;
/// The most events of one answer.
const MAX_EVENTS: usize = 10_000;

/// How much of a log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    #[serde(default)]
    last: Option<usize>,
}

impl LogQuery {
    fn of(self, sandbox: Option<SandboxName>) -> Result<AuditQuery> {
        match self.last.unwrap_or(EVENTS) {
            limit @ 1..=MAX_EVENTS => Ok(AuditQuery { sandbox, limit }),
            _ => Err(Error::invalid(format!("last is a number from 1 to {MAX_EVENTS}"))),
        }
    }
}

/// Lines as they were written, the oldest first.
type Lines = Vec<Box<RawValue>>;

async fn events(app: &App, query: AuditQuery) -> Result<Lines> {
    let page = app.blocking(move |engine| engine.events(&query)).await?;
    Ok(page.entries.iter().filter_map(raw).collect())
}

fn raw(entry: &AuditEntry) -> Option<Box<RawValue>> {
    RawValue::from_string(entry.as_json().to_owned()).ok()
}

pub(super) async fn audit(State(app): State<Arc<App>>, Search(query): Search<LogQuery>) -> Reply<Lines> {
    ok(events(&app, query.of(None)?).await?)
}

pub(super) async fn logs(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Search(query): Search<LogQuery>,
) -> Reply<Lines> {
    // One that is not there has no log, whatever one of that name did before.
    app.engine.info(&name).await?;
    ok(events(&app, query.of(Some(name))?).await?)
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoctorData {
    checks: Vec<DoctorCheck>,
    /// Whether no check is an error.
    healthy: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoctorCheck {
    name: String,
    /// `ok`, `info`, `warning` or `error`.
    status: &'static str,
    message: String,
    /// `backends`, `sandboxes` or `storage`.
    section: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl From<Check> for DoctorCheck {
    fn from(check: Check) -> Self {
        let status = match check.status {
            CheckStatus::Ok => "ok",
            CheckStatus::Info => "info",
            CheckStatus::Warning => "warning",
            CheckStatus::Error => "error",
        };
        let Check { section, name, message, hint, .. } = check;
        Self { name, status, message, section, hint }
    }
}

pub(super) async fn doctor(State(app): State<Arc<App>>) -> Reply<DoctorData> {
    let checks: Vec<DoctorCheck> = app.engine.doctor().await?.into_iter().map(DoctorCheck::from).collect();
    let healthy = checks.iter().all(|check| check.status != "error");
    ok(DoctorData { checks, healthy })
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackendsData {
    /// That of a sandbox for which none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_backend: Option<String>,
    backends: Vec<BackendData>,
}

/// A backend of this build.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackendData {
    backend: String,
    /// Every backend of the build is.
    configured: bool,
    usable: bool,
    readiness_reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    capabilities: CapabilityData,
}

/// What sandboxes of the backend can have; nothing, where it does not work.
#[derive(Debug, Default, Serialize, ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the shape of the API")]
pub(super) struct CapabilityData {
    mount_cwd: bool,
    mount_home: bool,
    attach: bool,
    host_volumes: bool,
    ssh: bool,
    proxy_secret_bindings: bool,
    secret_files: bool,
    snapshots: bool,
    resume: bool,
    full_state_pause_resume: bool,
    full_state_fork: bool,
    endpoints: bool,
}

impl From<BackendReport> for BackendData {
    fn from(report: BackendReport) -> Self {
        let capabilities = report.capabilities.as_ref().map_or_else(CapabilityData::default, |able| {
            let mounts = able.mounts.is_yes();
            CapabilityData {
                mount_cwd: mounts,
                mount_home: mounts,
                attach: able.terminal.is_yes(),
                host_volumes: mounts,
                proxy_secret_bindings: able.own_files.is_yes(),
                secret_files: able.own_files.is_yes(),
                // The disk of a stopped sandbox is there when it is started again.
                resume: able.named.is_yes(),
                endpoints: able.publish_ports.is_yes(),
                ..CapabilityData::default()
            }
        });
        let BackendReport { id, healthy, reason, hint, .. } = report;
        let readiness_reason = if healthy { "ready".to_owned() } else { reason };
        Self { backend: id, configured: true, usable: healthy, readiness_reason, hint, capabilities }
    }
}

pub(super) async fn agents(State(app): State<Arc<App>>) -> Reply<Vec<AgentReport>> {
    let secrets = Arc::clone(&app.secrets);
    // Keys of the vault alone: the server's environment is nobody's.
    let kept = app.blocking(move |_| secrets.list()).await?;
    let has_key = |name: &SecretName| kept.iter().any(|about| about.name == *name);
    ok(agents::agents(&app.options.path, has_key))
}

pub(super) async fn backends(State(app): State<Arc<App>>) -> Reply<BackendsData> {
    let reports = app.engine.backends().await?;
    let default_backend = reports.iter().find(|report| report.selected).map(|report| report.id.clone());
    ok(BackendsData { default_backend, backends: reports.into_iter().map(BackendData::from).collect() })
}
