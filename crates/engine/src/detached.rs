//! Commands that nobody waits for: begun through the keeper of a named sandbox, which writes down what they print and how
//! they end. They end with the sandbox and not with whoever began them, and any process can look at them later.

mod follow;
mod log;
mod place;

pub use follow::{CommandEvent, FollowingCommand};
pub(crate) use log::Log;
pub(crate) use place::{Ended, MAX_COMMAND, MAX_KEPT, Place, Stored};

use crate::{
    audit::reader,
    clock,
    directories::SandboxDir,
    engine::Engine,
    exec, keeper, query, record,
    request::{DetachedInfo, DetachedStatus, DetachedStream, Status},
    step,
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Stdio},
    id::DetachedId,
    name::SandboxName,
    position::LogPosition,
};
use agentkernel_store::Record;
use std::{fs::File, time::Duration};

/// What a command has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

impl Engine {
    /// Begins a command in a running sandbox and leaves it to the sandbox's keeper. Its input is empty.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] when the sandbox is not running, or is kept by an older version;
    /// [`Kind::Exhausted`] when as many run as may; those of
    /// [`Sandbox::exec`](agentkernel_backend::Sandbox::exec). After an error nothing of it is kept.
    pub async fn exec_detached(&self, name: &SandboxName, command: &ExecSpec) -> Result<DetachedInfo> {
        if matches!(command.stdio, Stdio::Terminal(_)) {
            return Err(Error::invalid("a detached command has no terminal")
                .with_hint("leave out --tty, or run it in 'agentkernel attach'"));
        }
        let mut command = ExecSpec { stdio: Stdio::NoInput, ..command.clone() };
        // It outlasts the span, which is of its beginning alone.
        let span = step::span!("detach");
        step::carry_in(&span, &mut command, &[]);
        let beginning = async {
            let dir = SandboxDir::of(&self.host, exec::running(self, name)?.id);
            match keeper::detach(&dir, &command).await? {
                Some(id) => self.detached(name, &id),
                None => Err(exec::not_running(self, name)),
            }
        };
        step::recorded(span, beginning).await
    }

    /// Every detached command that is remembered, the oldest first: those that run and the newest that have ended, also
    /// when the sandbox is stopped.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; when they cannot be read.
    pub fn detached_list(&self, name: &SandboxName) -> Result<Vec<DetachedInfo>> {
        let sandbox = Seen::of(self, name)?;
        Ok(sandbox.place.all()?.into_iter().map(|stored| sandbox.shown(stored)).collect())
    }

    /// One detached command.
    ///
    /// # Errors
    /// [`Kind::NotFound`], of the sandbox or of the command.
    pub fn detached(&self, name: &SandboxName, id: &DetachedId) -> Result<DetachedInfo> {
        let sandbox = Seen::of(self, name)?;
        let stored = sandbox.place.read(*id)?.ok_or_else(|| no_such(name, id))?;
        Ok(sandbox.shown(stored))
    }

    /// What a detached command wrote to one of its streams so far: the newest bytes, at most 16 MiB;
    /// [`DetachedInfo::stdout_dropped`] says how many came before them. They are the command's own: fit for no terminal.
    ///
    /// # Errors
    /// As [`Engine::detached`].
    pub fn detached_logs(&self, name: &SandboxName, id: &DetachedId, stream: DetachedStream) -> Result<File> {
        let sandbox = Seen::of(self, name)?;
        sandbox.place.read(*id)?.ok_or_else(|| no_such(name, id))?;
        let path = sandbox.place.log(*id, stream);
        let opened =
            reader::open(&path).map_err(|e| Error::io(format!("cannot read '{}'", path.display()), e))?;
        opened.ok_or_else(|| no_such(name, id))
    }

    /// What a detached command writes, from `from` on, until its end: what is there and what comes. Of one stream where
    /// `stream` says which. Must be called within the runtime. Each follower takes one of the inotify instances of which a
    /// user has few.
    ///
    /// # Errors
    /// As [`Engine::detached`]; [`Kind::Unsupported`] where the system does not tell when a file grows.
    pub fn follow_detached(
        &self,
        name: &SandboxName,
        id: &DetachedId,
        stream: Option<DetachedStream>,
        from: LogPosition,
    ) -> Result<FollowingCommand> {
        let sandbox = Seen::of(self, name)?;
        sandbox.place.read(*id)?.ok_or_else(|| no_such(name, id))?;
        let dir = SandboxDir::of(&self.host, sandbox.record.id);
        FollowingCommand::new(sandbox, dir, *id, stream, from)
    }

    /// Ends a detached command and what stayed in its process group: SIGTERM, and SIGKILL after ten seconds. Resolves
    /// when it has ended. Ending what has ended succeeds.
    ///
    /// # Errors
    /// As [`Engine::detached`]; [`Kind::Timeout`] when it does not end.
    pub async fn detached_kill(&self, name: &SandboxName, id: &DetachedId) -> Result<DetachedInfo> {
        let seen = self.detached(name, id)?;
        if seen.status != DetachedStatus::Running {
            return Ok(seen);
        }
        let dir = SandboxDir::of(&self.host, query::by_name(self, name)?.id);
        keeper::kill(&dir, *id, GRACE).await?;
        self.detached(name, id)
    }
}

fn no_such(name: &SandboxName, id: &DetachedId) -> Error {
    Error::new(Kind::NotFound, format!("the sandbox '{name}' has no detached command {id}"))
        .with_hint(format!("'agentkernel sandbox exec-list {name}' shows those that there are"))
}

/// A sandbox as it is at this moment, and its detached commands.
struct Seen {
    record: Record,
    place: Place,
    /// Why what is not known to have ended runs no more; `None`: it runs.
    over: Option<String>,
}

impl Seen {
    fn of(engine: &Engine, name: &SandboxName) -> Result<Self> {
        let record = query::by_name(engine, name)?;
        if !record::is_shown(&record) {
            return Err(record::no_such(name));
        }
        let over = match record::status(&record, &engine.host, clock::now())? {
            (Status::Running, _) => None,
            (_, why) => Some(why.unwrap_or_else(|| record::reason::KEEPER_ENDED.to_owned())),
        };
        let place = Place::of(&SandboxDir::of(&engine.host, record.id));
        Ok(Self { record, place, over })
    }

    /// What was to be written down at its end, and is not because its keeper was killed, is told all the same.
    fn shown(&self, stored: Stored) -> DetachedInfo {
        let lost = || self.over.clone().map(|why| Ended { at: None, exit_code: None, reason: Some(why) });
        let ended = stored.ended.or_else(lost);
        let status = match &ended {
            None => DetachedStatus::Running,
            Some(Ended { exit_code: Some(0), .. }) => DetachedStatus::Completed,
            Some(_) => DetachedStatus::Failed,
        };
        let (at, exit_code, reason) = ended.map_or((None, None, None), |e| (e.at, e.exit_code, e.reason));
        DetachedInfo {
            id: stored.id,
            sandbox: self.record.name.clone(),
            command: stored.command,
            command_cut: stored.command_cut,
            pid: stored.pid,
            status,
            exit_code,
            reason,
            started_at: clock::rfc3339(stored.started_at),
            ended_at: at.map(clock::rfc3339),
            stdout_dropped: stored.stdout_dropped,
            stderr_dropped: stored.stderr_dropped,
        }
    }
}
