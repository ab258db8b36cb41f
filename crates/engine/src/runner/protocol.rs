//! What is said over the line of a runner.
//!
//! ```text
//! starter                          runner
//! Setup                     ->                  as soon as it is started: a spare one waits after this
//! Order::Run                ->
//!                           <-  Reply::Values   where it needs them, with the socket that they go to
//!                           <-  Reply::Begun    with the streams of the command
//! Order::Signal, …          ->
//!                           <-  Reply::Ended    everything of it is gone
//! ```
//!
//! Instead of a run, [`Order::Probe`] can be asked for, and [`Reply::Probed`] is the answer.
//!
//! [`Reply::Failed`] can come at any time, and is the last word.

use crate::{
    audit::Audit,
    engine::Engine,
    keeper::protocol::WireError,
    request::{Choice, Pool},
};
use agentkernel_backend::{Exit, Health, Host, Registry, Surroundings};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Signal, TerminalSize},
    id::BackendId,
    spec::SandboxSpec,
};
use agentkernel_trace::{Context, Finished};
use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Raised when a message changes its meaning.
const VERSION: u32 = 1;

/// What every run of one engine shares: a runner reads nothing of it from its own environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    version: u32,
    data: OsString,
    exe: OsString,
    uid: u32,
    gid: u32,
    login: String,
    home: Option<OsString>,
    runtime_dir: Option<OsString>,
    path: Vec<OsString>,
    variables: BTreeMap<String, String>,
    facts: Facts,
    gateway_file: Option<OsString>,
    /// Whether what it does outside is written down.
    audited: bool,
}

/// For the built-in `host` image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    path: Vec<OsString>,
    home: Option<OsString>,
}

fn text(path: &Path) -> OsString {
    path.as_os_str().to_owned()
}

fn texts(paths: &[PathBuf]) -> Vec<OsString> {
    paths.iter().map(|path| text(path)).collect()
}

fn paths(texts: Vec<OsString>) -> Vec<PathBuf> {
    texts.into_iter().map(PathBuf::from).collect()
}

impl Setup {
    pub(super) fn of(engine: &Engine) -> Self {
        let Host { data, exe, uid, gid, login, surroundings } = &engine.host;
        let optional = |path: &Option<PathBuf>| path.as_deref().map(text);
        Self {
            version: VERSION,
            data: text(data),
            exe: text(exe),
            uid: *uid,
            gid: *gid,
            login: login.clone(),
            home: optional(&surroundings.home),
            runtime_dir: optional(&surroundings.runtime_dir),
            path: texts(&surroundings.path),
            variables: surroundings.variables.clone(),
            facts: Facts { path: texts(&engine.facts.path), home: optional(&engine.facts.home) },
            gateway_file: optional(&engine.gateway_file),
            audited: !engine.audit.is_off(),
        }
    }

    /// The engine that a runner works with.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it is of another version.
    pub(super) fn engine(self, registry: Registry) -> Result<Engine> {
        if self.version != VERSION {
            return Err(Error::new(
                Kind::Conflict,
                "agentkernel was replaced by another version while it ran",
            )
            .with_hint("start the server again"));
        }
        let host = Host {
            data: self.data.into(),
            exe: self.exe.into(),
            uid: self.uid,
            gid: self.gid,
            login: self.login,
            surroundings: Surroundings {
                home: self.home.map(PathBuf::from),
                runtime_dir: self.runtime_dir.map(PathBuf::from),
                path: paths(self.path),
                variables: self.variables,
                // The starter has no gateway: what it has is what it was started with.
                open_files: getrlimit(Resource::Nofile).current,
            },
        };
        let audit = if self.audited { Audit::of(&host) } else { Audit::off() };
        let facts = HostFacts { path: paths(self.facts.path), home: self.facts.home.map(PathBuf::from) };
        let gateway_file = self.gateway_file.map(PathBuf::from);
        Ok(Engine::new(host, registry, facts).with_audit(audit).with_gateway_file(gateway_file))
    }
}

/// What the starter says after the setup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    Run(Box<Work>),
    /// Try these out, all at the same time.
    Probe(Vec<BackendId>),
    Signal(Signal),
    /// To what the command started as well.
    SignalGroup(Signal),
    Resize(TerminalSize),
}

/// A run, but for the values of its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Work {
    pub(super) spec: SandboxSpec,
    pub(super) command: ExecSpec,
    pub(super) backend: Option<String>,
    pub(super) pool: Pool,
    /// What it is a part of, where that is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<Context>,
}

/// What the runner says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// Process 1 is there: the values may come, through the socket that is beside this.
    Values,
    Begun(Box<Begun>),
    Ended(Ended),
    /// What was recorded of the run, before the last word.
    Spans(Vec<Finished>),
    /// Of each that was to be tried out, in that order. It is written down already.
    Probed(Vec<Health>),
    Failed(WireError),
}

/// The command runs. Its streams are beside this, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    pub(super) backend: BackendId,
    pub(super) notes: Vec<String>,
    pub(super) unenforced: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Begun {
    pub(super) fn choice(&self) -> Choice {
        let Self { backend, notes, unenforced, .. } = self;
        Choice { backend: backend.clone(), notes: notes.clone(), unenforced: unenforced.clone() }
    }
}

/// How the command ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    /// Something that could not be written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<WireError>,
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
