//! From records to what callers see, and back to what a backend needs.

use crate::{
    boot, clock,
    directories::SandboxDir,
    reach::Answers,
    request::{Endpoint, SandboxInfo, Status},
};
use agentkernel_backend::{DriverState, Host};
use agentkernel_image::HostFacts;
use agentkernel_model::{Error, Kind, Result, image::Digest, name::SandboxName};
use agentkernel_store::{Cached, Intent, Record};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Why a sandbox is stopped, as records and callers spell it.
pub(crate) mod reason {
    pub(crate) const EXPIRED: &str = "expired";
    pub(crate) const KEEPER_ENDED: &str = "its keeper ended unexpectedly";
    pub(crate) const REBOOT: &str = "the machine was restarted";
    pub(crate) const ENDED: &str = "it ended by itself";
    pub(crate) const TERMINATED: &str = "its keeper was told to end";
    pub(crate) const UNFINISHED_REMOVAL: &str = "its removal was interrupted";
}

/// Who is shown in lists. A sandbox that is being created is none yet.
pub(crate) fn is_shown(record: &Record) -> bool {
    record.intent != Some(Intent::Create)
}

/// Status and reason as they are now: whether it runs is asked of the kernel. A record that says "stopped" needs no
/// question: a keeper writes "running" before it reports so, and nobody else starts anything.
pub(crate) fn status(record: &Record, host: &Host, now: i64) -> Result<(Status, Option<String>)> {
    let why = |text: &str| Some(text.to_owned());
    if record.intent == Some(Intent::Remove) {
        return Ok((Status::Stopped, why(reason::UNFINISHED_REMOVAL)));
    }
    if record.cached == Cached::Running {
        if SandboxDir::of(host, record.id).is_kept()? {
            return Ok((Status::Running, None));
        }
        return Ok((Status::Stopped, why(lost(record))));
    }
    let reason = if record.is_expired(now) { why(reason::EXPIRED) } else { record.reason.clone() };
    Ok((Status::Stopped, reason))
}

/// Why a sandbox runs no more whose record says that it does.
pub(crate) fn lost(record: &Record) -> &'static str {
    let rebooted = record.boot_id.is_some() && record.boot_id != boot::id();
    if rebooted { reason::REBOOT } else { reason::KEEPER_ENDED }
}

/// What callers see. A record that this version cannot read, and one whose backend does not answer, is shown as unknown,
/// with the reason.
pub(crate) fn info(record: &Record, host: &Host, answers: &Answers) -> Result<SandboxInfo> {
    let (mut status, mut reason) = match answers.silence(&record.backend) {
        Some(silence) => (Status::Unknown, Some(silence.to_string())),
        None => status(record, host, clock::now())?,
    };
    let (image, ports, vcpus, memory_mb) = match record.spec() {
        Ok(spec) => {
            let limits = spec.policy.limits;
            let vcpus = limits.cpus.map(|limit| limit.value().milli().div_ceil(1000));
            let memory = limits.memory.map(|limit| limit.value().bytes() / (1024 * 1024));
            (spec.image.to_string(), spec.ports, vcpus, memory)
        }
        Err(e) => {
            status = Status::Unknown;
            reason = Some(e.to_string());
            ("unknown".to_owned(), Vec::new(), None, None)
        }
    };
    let is_running = status == Status::Running;
    let ports = if is_running { record.ports.clone() } else { ports };
    let endpoints = ports.iter().filter(|_| is_running).map(Endpoint::from).collect();
    Ok(SandboxInfo {
        name: record.name.clone(),
        uuid: record.id,
        status,
        reason,
        backend: record.backend.clone(),
        image,
        vcpus,
        memory_mb,
        ip: None,
        created_at: clock::rfc3339(record.created_at),
        expires_at: record.expires_at.map(clock::rfc3339),
        ttl_seconds: record.ttl.map(|ttl| ttl.as_secs()),
        ports,
        endpoints,
        labels: record.labels.clone(),
        description: record.description.clone(),
        unenforced: record.unenforced.clone(),
        spec: None,
    })
}

/// The error for a name that no sandbox has.
pub(crate) fn no_such(name: &SandboxName) -> Error {
    Error::new(Kind::NotFound, format!("there is no sandbox '{name}'"))
        .with_hint("agentkernel sandbox list shows those that there are")
}

/// Refuses a sandbox that is being created or removed.
pub(crate) fn check_finished(name: &SandboxName, intent: Option<Intent>) -> Result<()> {
    let Some(intent) = intent else { return Ok(()) };
    let what = match intent {
        Intent::Create => "was never finished",
        Intent::Remove => "is half removed",
    };
    Err(Error::new(Kind::Conflict, format!("the sandbox '{name}' {what}")).with_hint(format!(
        "wait for the command that does it, or clear it away with 'agentkernel sandbox remove {name}'"
    )))
}

/// The error for what cannot be done any more because the sandbox's time is over.
pub(crate) fn expired(name: &SandboxName) -> Error {
    Error::new(Kind::Conflict, format!("the sandbox '{name}' has expired")).with_hint(format!(
        "make a new one with 'agentkernel sandbox create', after 'agentkernel sandbox remove {name}'"
    ))
}

/// A backend's state as text for the store.
pub(crate) fn encode_state(state: &DriverState) -> Result<String> {
    serde_json::to_string(state)
        .map_err(|e| Error::internal("cannot encode the state of a sandbox").with_source(e))
}

/// The state that the store has, if any.
pub(crate) fn decode_state(text: Option<&str>) -> Result<Option<DriverState>> {
    let decode = |text| {
        serde_json::from_str(text)
            .map_err(|e| Error::internal("the state of a sandbox is damaged").with_source(e))
    };
    text.map(decode).transpose()
}

/// What the engine remembers beside the spec: the caller's tool installations and the very image, so that a sandbox is
/// started with those that it was created with, whoever starts it. Paths that are not UTF-8 are left out.
#[derive(Debug, Serialize, Deserialize)]
struct Context {
    path: Vec<String>,
    home: Option<String>,
    /// The config digest of an OCI image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Digest>,
}

/// `identity` is that of the root file system.
pub(crate) fn encode_context(facts: &HostFacts, identity: &str) -> Result<String> {
    let text = |path: &PathBuf| path.to_str().map(str::to_owned);
    let context = Context {
        path: facts.path.iter().filter_map(text).collect(),
        home: facts.home.as_ref().and_then(text),
        image: identity.parse().ok(),
    };
    serde_json::to_string(&context).map_err(|e| Error::internal("cannot encode a record").with_source(e))
}

/// What a sandbox was made from, beside its spec.
#[derive(Debug)]
pub(crate) struct Origins {
    pub(crate) facts: HostFacts,
    pub(crate) image: Option<Digest>,
}

/// The origins of `record`, with `fallback` when it tells none.
pub(crate) fn origins(record: &Record, fallback: &HostFacts) -> Result<Origins> {
    let Some(text) = &record.context else { return Ok(Origins { facts: fallback.clone(), image: None }) };
    let context: Context = serde_json::from_str(text).map_err(|e| {
        Error::internal(format!("the record of sandbox '{}' is damaged", record.name)).with_source(e)
    })?;
    let facts = HostFacts {
        path: context.path.into_iter().map(PathBuf::from).collect(),
        home: context.home.map(PathBuf::from),
    };
    Ok(Origins { facts, image: context.image })
}
