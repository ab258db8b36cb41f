//! Faults on demand and a log of calls, both in files, so that they reach a backend in another process as well.

use super::DRIVER;
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, getpid, kill_process},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

/// A place in the seam where a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Probe,
    /// `reach`, which a real one asks its server.
    Reach,
    Admit,
    Create,
    /// `create` has made everything and has not answered yet.
    CreateMade,
    Start,
    /// `start` has brought the sandbox up and has not answered yet.
    StartUp,
    Attach,
    Stop,
    Resize,
    Destroy,
    ListOwned,
    RunOnce,
    Exec,
    Forward,
    Stats,
    FileRead,
    FileWrite,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Reach => "reach",
            Self::Admit => "admit",
            Self::Create => "create",
            Self::CreateMade => "create_made",
            Self::Start => "start",
            Self::StartUp => "start_up",
            Self::Attach => "attach",
            Self::Stop => "stop",
            Self::Resize => "resize",
            Self::Destroy => "destroy",
            Self::ListOwned => "list_owned",
            Self::RunOnce => "run_once",
            Self::Exec => "exec",
            Self::Forward => "forward",
            Self::Stats => "stats",
            Self::FileRead => "file_read",
            Self::FileWrite => "file_write",
        }
    }
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The step fails with this kind of error. Only these kinds: others have no step that would give them.
    Fail(FaultKind),
    /// The step never answers; cancelling it is the way out. Where the step is not async it fails as `Timeout`.
    Hang,
    /// The process is gone at once, as after kill -9.
    Die,
}

/// The kinds of error that a fault can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    Conflict,
    Denied,
    Exhausted,
    Internal,
    NotFound,
    Timeout,
    Unavailable,
}

impl From<FaultKind> for Kind {
    fn from(kind: FaultKind) -> Self {
        match kind {
            FaultKind::Conflict => Self::Conflict,
            FaultKind::Denied => Self::Denied,
            FaultKind::Exhausted => Self::Exhausted,
            FaultKind::Internal => Self::Internal,
            FaultKind::NotFound => Self::NotFound,
            FaultKind::Timeout => Self::Timeout,
            FaultKind::Unavailable => Self::Unavailable,
        }
    }
}

/// One fault: where, what, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub step: Step,
    pub action: Action,
    /// Strikes this many times; `None` always.
    pub times: Option<u32>,
}

/// The outside handle on every fake backend of one data directory.
#[derive(Debug, Clone)]
pub struct FakeControl {
    directory: PathBuf,
}

impl FakeControl {
    /// For the backends whose `Host::data` is `data`.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self::of(data, DRIVER.id)
    }

    /// For those of them that are called `id`.
    #[must_use]
    pub fn of(data: &Path, id: &str) -> Self {
        Self { directory: data.join(id) }
    }

    /// Adds a fault, behind those of the same step that are there.
    ///
    /// # Errors
    /// When the file of faults cannot be written.
    pub fn inject(&self, fault: Fault) -> Result<()> {
        self.edit(|faults| faults.push(fault))
    }

    /// Forgets all faults.
    ///
    /// # Errors
    /// When the file of faults cannot be written.
    pub fn heal(&self) -> Result<()> {
        self.edit(Vec::clear)
    }

    /// How often `step` was reached, by all processes together.
    #[must_use]
    pub fn count(&self, step: Step) -> usize {
        let log = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        log.lines().filter(|line| *line == step.as_str()).count()
    }

    /// Logs a call and strikes when told to.
    pub(super) async fn pass(&self, step: Step) -> Result<()> {
        match self.strike(step)? {
            None => Ok(()),
            Some(Action::Hang) => std::future::pending().await,
            Some(action) => Err(Self::error(step, action)),
        }
    }

    /// As [`Self::pass`] for a step that is not async.
    pub(super) fn pass_now(&self, step: Step) -> Result<()> {
        self.strike(step)?.map_or(Ok(()), |action| Err(Self::error(step, action)))
    }

    fn error(step: Step, action: Action) -> Error {
        let kind = match action {
            Action::Fail(kind) => kind.into(),
            Action::Hang | Action::Die => Kind::Timeout,
        };
        Error::new(kind, format!("the fake backend was told to fail at '{}'", step.as_str()))
    }

    fn strike(&self, step: Step) -> Result<Option<Action>> {
        self.log(step)?;
        if !self.directory.join("faults").exists() {
            return Ok(None);
        }
        let mut struck = None;
        self.edit(|faults| {
            let Some(at) = faults.iter().position(|f| f.step == step && f.times != Some(0)) else { return };
            struck = Some(faults[at].action);
            faults[at].times = faults[at].times.map(|n| n - 1);
        })?;
        if struck == Some(Action::Die) {
            let _never_returns = kill_process(getpid(), Signal::KILL);
        }
        Ok(struck)
    }

    fn log(&self, step: Step) -> Result<()> {
        let fail = |e| Error::io("cannot log a call of the fake backend", e);
        fs::create_dir_all(&self.directory).map_err(fail)?;
        let path = self.directory.join("calls");
        let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(fail)?;
        file.write_all(format!("{}\n", step.as_str()).as_bytes()).map_err(fail)
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<Fault>)) -> Result<()> {
        let fail = |e| Error::io("cannot edit the faults of the fake backend", e);
        fs::create_dir_all(&self.directory).map_err(fail)?;
        let path = self.directory.join("faults");
        let mut file: File = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|e| fail(e.into()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        let damaged = |e| Error::internal("the faults of the fake backend are damaged").with_source(e);
        let mut faults: Vec<Fault> =
            if text.is_empty() { Vec::new() } else { serde_json::from_str(&text).map_err(damaged)? };
        change(&mut faults);
        let text = serde_json::to_string(&faults).map_err(damaged)?;
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(fail)
    }
}
