//! The detached commands of a keeper's sandbox: begun here, their output written to logs, their end written down.

use super::protocol::Phase;
use crate::{
    audit::{Audit, Place as Surroundings, words_within},
    clock,
    detached::{Ended, Log, MAX_COMMAND, MAX_KEPT, Place, Stored},
    request::DetachedStream,
};
use agentkernel_backend::{ByteSource, Control, Exit, Process, Sandbox};
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Signal},
    id::DetachedId,
    name::SandboxName,
    text::printable,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncReadExt as _,
    sync::{Notify, watch},
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

/// How many may run at once.
const MAX_RUNNING: usize = 32;
/// How much of the output is read at once.
const PIECE: usize = 32 * 1024;
/// How long what a command has written may take to be in its logs when it has ended. Only where something that it started
/// holds its output open does this pass.
const DRAIN: Duration = Duration::from_millis(500);
/// How long a command may take to end after SIGKILL, and everything to be written down when the sandbox is gone.
const LAST: Duration = Duration::from_secs(5);
/// Characters of a reason.
const MAX_REASON: usize = 500;

/// Where the commands are, and who is told.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: SandboxName,
    pub(super) place: Place,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) audit: Audit,
    pub(super) database: PathBuf,
    pub(super) phase: watch::Receiver<Phase>,
}

/// All commands. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Commands(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    site: Site,
    state: Mutex<State>,
    /// A ticket was given back.
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// No more begin: the sandbox is over.
    closed: bool,
    /// How many begin or run.
    tickets: usize,
    running: BTreeMap<DetachedId, Running>,
    tasks: JoinSet<()>,
}

/// One that runs.
#[derive(Clone)]
struct Running {
    control: Arc<dyn Control>,
    /// Closed when its end is written down.
    ended: watch::Receiver<()>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// A place among those that run.
struct Ticket(Arc<Inner>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.state().tickets -= 1;
        self.0.left.notify_one();
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ticket(self: &Arc<Self>) -> Result<Ticket> {
        let mut state = self.state();
        if state.closed || *self.site.phase.borrow() == Phase::Stopping {
            return Err(Error::new(Kind::Conflict, "the sandbox is being stopped"));
        }
        if state.tickets >= MAX_RUNNING {
            let name = &self.site.name;
            return Err(Error::new(
                Kind::Exhausted,
                format!(
                    "the sandbox '{name}' has {MAX_RUNNING} detached commands that run, and may have no more"
                ),
            )
            .with_hint(format!("end one with 'agentkernel sandbox exec-kill {name} ID'")));
        }
        state.tickets += 1;
        drop(state);
        Ok(Ticket(Arc::clone(self)))
    }
}

impl Commands {
    pub(super) fn new(site: Site) -> Self {
        Self(Arc::new(Inner { site, state: Mutex::default(), left: Notify::new() }))
    }

    /// Begins `command`. It is written down before it begins, so that none runs that nobody knows.
    ///
    /// # Errors
    /// [`Kind::Exhausted`] when as many run as may, [`Kind::Conflict`] when the sandbox is being stopped, and why it could
    /// not begin. Then nothing of it is kept.
    pub(super) async fn begin(&self, command: ExecSpec) -> Result<DetachedId> {
        let ticket = self.0.ticket()?;
        let site = &self.0.site;
        let begun = site.audit.command(Some(&site.name), &command);
        let surroundings = Surroundings::Recorded { database: site.database.clone() };
        let place = site.place.clone();
        let words = command.argv.words().to_vec();
        let files = blocking(move || Files::of(place, &words)).await?;
        let id = files.stored.id;
        match site.sandbox.begin(&command).await {
            Ok((process, pid)) => {
                let process = begun.follow(process, surroundings);
                let record = self.look_after(process, files, ticket);
                if pid.is_some() {
                    // That its number cannot be written down changes nothing for the command.
                    let _number = blocking(move || record.change(|stored| stored.pid = pid)).await;
                }
                Ok(id)
            }
            Err(error) => {
                let place = site.place.clone();
                // The reason of the failure is the news.
                let _found_by_the_next_start = blocking(move || place.forget(id)).await;
                Err(begun.never_ran(error, surroundings))
            }
        }
    }

    /// Its record, which changes while it runs.
    fn look_after(&self, process: Process, files: Files, ticket: Ticket) -> Arc<Record> {
        let Process { stdin, stdout, stderr, control, exit } = process;
        drop(stdin);
        let id = files.stored.id;
        let (tell, ended) = watch::channel(());
        let running = Running { control: Arc::from(control), ended };
        let Files { place, stored, out, err } = files;
        let record = Arc::new(Record { place, stored: Mutex::new(stored) });
        let answer = Arc::clone(&record);
        let inner = Arc::clone(&self.0);
        let mut state = self.0.state();
        state.running.insert(id, running);
        // What has ended is collected here: nobody else waits for it before the sandbox is over.
        while state.tasks.try_join_next().is_some() {}
        state.tasks.spawn(async move {
            let mut pumps = JoinSet::new();
            pumps.spawn(pump(stdout, out, DetachedStream::Stdout, Arc::clone(&record)));
            pumps.spawn(pump(stderr, err, DetachedStream::Stderr, Arc::clone(&record)));
            let exit = exit.await;
            let over = *inner.site.phase.borrow() == Phase::Stopping;
            let ended = ended_by(exit, over);
            let drained = async { while pumps.join_next().await.is_some() {} };
            let _output_held_open = timeout(DRAIN, drained).await;
            // Whoever sees its end may begin the next one at once.
            drop(ticket);
            let written = Arc::clone(&record);
            let written = blocking(move || written.change(|stored| stored.ended = Some(ended))).await;
            if let Err(error) = written {
                // The next look says that nobody saw its end.
                inner.site.audit.trouble(error);
            }
            inner.state().running.remove(&id);
            drop(tell);
            // What it left behind may go on writing; it ends with the sandbox at the latest.
            while pumps.join_next().await.is_some() {}
        });
        answer
    }

    /// Ends a command and waits until that is written down; one that does not run has ended.
    ///
    /// # Errors
    /// [`Kind::Timeout`] when it outlives SIGKILL, [`Kind::Internal`] when it cannot be reached.
    pub(super) async fn kill(&self, id: DetachedId, grace: Duration) -> Result<()> {
        let Some(Running { control, mut ended }) = self.0.state().running.get(&id).cloned() else {
            return Ok(());
        };
        control.signal_group(Signal::Terminate)?;
        if timeout(grace, ended.changed()).await.is_ok() {
            return Ok(());
        }
        control.signal_group(Signal::Kill)?;
        timeout(LAST, ended.changed()).await.map(drop).map_err(|_| {
            Error::new(Kind::Timeout, format!("the detached command {id} does not end"))
                .with_hint(format!("agentkernel sandbox stop {}", self.0.site.name))
        })
    }

    /// Waits until the end of every command is written down. For when the sandbox is gone: then all of them are.
    pub(super) async fn finish(&self) {
        self.0.state().closed = true;
        let idle = async {
            while self.0.state().tickets > 0 {
                self.0.left.notified().await;
            }
            // Those whose end is being written down.
            let unwritten: Vec<Running> = self.0.state().running.values().cloned().collect();
            for mut running in unwritten {
                let _written = running.ended.changed().await;
            }
        };
        let _those_that_are_left_are_settled = timeout(LAST, idle).await;
        let mut tasks = std::mem::take(&mut self.0.state().tasks);
        tasks.shutdown().await;
        let place = self.0.site.place.clone();
        if let Err(error) = blocking(move || place.settle(OVER)).await {
            self.0.site.audit.trouble(error);
        }
    }
}

/// Why a command ended that the sandbox took with it.
const OVER: &str = "the sandbox was stopped";

fn ended_by(exit: Result<Exit>, over: bool) -> Ended {
    let (exit_code, reason) = match exit {
        Ok(Exit::Code(code)) => (Some(code), None),
        Ok(exit @ Exit::Signal { number, out_of_memory }) => {
            let reason = match (over, out_of_memory) {
                (true, _) => OVER.to_owned(),
                (false, true) => "the kernel killed it for want of memory".to_owned(),
                (false, false) => format!("signal {number} ended it"),
            };
            (Some(exit.code()), Some(reason))
        }
        Err(error) => {
            let code = matches!(error.kind(), Kind::CommandNotFound | Kind::NotRunnable)
                .then(|| error.kind().exit_code());
            let reason = if over && code.is_none() { OVER.to_owned() } else { error.to_string() };
            (code, Some(printable(&reason).chars().take(MAX_REASON).collect()))
        }
    };
    Ended { at: Some(clock::now()), exit_code, reason }
}

/// What is on disk of one that is about to begin.
struct Files {
    place: Place,
    stored: Stored,
    out: Log,
    err: Log,
}

impl Files {
    /// Makes the files of a new command; the oldest ones that have ended make room.
    fn of(place: Place, words: &[String]) -> Result<Self> {
        place.make()?;
        let all = place.all()?;
        let surplus = (all.len() + 1).saturating_sub(MAX_KEPT);
        for old in all.iter().filter(|stored| stored.ended.is_some()).take(surplus) {
            place.forget(old.id)?;
        }
        let mut id = DetachedId::new();
        while all.iter().any(|stored| stored.id == id) {
            id = DetachedId::new();
        }
        let (command, command_cut) = words_within(words, MAX_COMMAND);
        let mut stored = Stored {
            id,
            command,
            command_cut,
            pid: None,
            started_at: clock::now(),
            ended: None,
            stdout_dropped: 0,
            stderr_dropped: 0,
            stdout_start: None,
            stderr_start: None,
        };
        let log = |stream| {
            Log::create(place.log(id, stream))
                .map_err(|e| Error::io("cannot make the log of a detached command", e))
        };
        let mut made = || {
            let (out, err) = (log(DetachedStream::Stdout)?, log(DetachedStream::Stderr)?);
            stored.set_log(DetachedStream::Stdout, 0, out.start());
            stored.set_log(DetachedStream::Stderr, 0, err.start());
            place.write(&stored).map(|()| (out, err))
        };
        match made() {
            Ok((out, err)) => Ok(Self { stored, out, err, place }),
            Err(error) => {
                let _as_it_was = place.forget(id);
                Err(error)
            }
        }
    }
}

/// What is known of a command that runs.
struct Record {
    place: Place,
    stored: Mutex<Stored>,
}

impl Record {
    fn change(&self, change: impl FnOnce(&mut Stored)) -> Result<()> {
        // Held while it is written: the order of the changes is that of the files.
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stored);
        self.place.write(&stored)
    }
}

/// Writes what comes from `source` to `log` until it ends. The keeper's other work shares this thread, and a disk can be
/// slow: another thread writes, and nothing more is read meanwhile.
async fn pump(source: ByteSource, mut log: Log, stream: DetachedStream, record: Arc<Record>) {
    let Ok(Some(mut reader)) = source.into_reader() else { return };
    let mut piece = vec![0; PIECE];
    loop {
        // A stream that breaks has ended.
        let n = match reader.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        let record = Arc::clone(&record);
        let append = move || {
            let before = log.dropped();
            log.append(&piece[..n]);
            let (dropped, start) = (log.dropped(), log.start());
            // Where this cannot be written, neither can the log, and the next time says it all.
            let _told_later =
                (dropped != before).then(|| record.change(|stored| stored.set_log(stream, dropped, start)));
            (log, piece)
        };
        let Ok(back) = spawn_blocking(append).await else { return };
        (log, piece) = back;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work)
        .await
        .map_err(|e| Error::internal("work on a detached command was cut off").with_source(e))?
}
