//! What sandboxes did outside: one line of JSON for each connection, request and name that was asked for.
//!
//! A named sandbox has a file in its own directory, which goes with it; those of `run` and of warm sandboxes share one
//! beside the log of events, by their uuid. The lines of one sandbox are a chain: each holds the SHA-256 of the one before
//! it, so that a line that was changed or taken out is seen (`audit verify`). Where a chain ends is an event when the gateway
//! of its sandbox ends, for lines that are missing at the end, or with the whole file. In the shared file every sandbox has a chain of its own: writers never wait for each other.
//!
//! The gateway is never held up: what it tells waits in a bounded queue for a thread that writes, and what finds no place
//! is counted, and the number written.

mod entry;
mod head;
mod journal;
mod queue;
mod reader;
mod verify;

pub use verify::{Broken, Verified};

pub(crate) use reader::read;
pub(crate) use verify::{Ends, verify};

use crate::{
    audit::{self, Audit, AuditPage, Following},
    directories::SandboxDir,
    engine::Engine,
};
use agentkernel_backend::Host;
use agentkernel_egress::{Connection, Observer, Request, Shortage};
use agentkernel_model::{Result, id::SandboxId, name::SandboxName};
use entry::Entry;
use journal::{Fate, Journal, Start};
use queue::{Queue, Until};
use reader::Wanted;
use std::{
    collections::BTreeSet,
    future::pending,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Instant,
};
use tokio::{runtime, sync::Notify, task::spawn_blocking, time::sleep_until};

const NAME: &str = "connections.jsonl";
/// Blocked destinations of one sandbox that the log of events tells, each once: a sandbox must not flood it.
const MOST_BLOCKED: usize = 100;

/// Which lines; all conditions must hold.
#[derive(Debug, Clone)]
pub struct ConnectionQuery {
    /// `None`: those of sandboxes without a name.
    pub sandbox: Option<SandboxName>,
    pub only_blocked: bool,
    /// The newest so many.
    pub limit: usize,
}

impl ConnectionQuery {
    pub(crate) const fn wanted(&self) -> Wanted {
        Wanted { only_blocked: self.only_blocked, limit: self.limit }
    }
}

/// The file of a named sandbox.
pub(crate) fn of_sandbox(dir: &SandboxDir) -> PathBuf {
    dir.path.join(NAME)
}

/// The file of all others.
pub(crate) fn shared(host: &Host) -> PathBuf {
    host.data.join(NAME)
}

/// The newest lines of the log at `path`, and what comes. With `kept` it ends with that sandbox.
pub(crate) fn follow(
    path: PathBuf,
    kept: Option<SandboxDir>,
    wanted: Wanted,
) -> Result<(AuditPage, Following)> {
    audit::follow(path, kept, |parts| reader::page(parts, wanted), Box::new(move |entry| wanted.wants(entry)))
}

/// Who is told about the connections of the named sandbox in `dir`; nobody where the log is turned off. Does no I/O.
pub(crate) fn observe(
    engine: &Engine,
    id: SandboxId,
    name: &SandboxName,
    dir: &SandboxDir,
) -> Option<Arc<dyn Observer>> {
    Some(Log::of(engine, id, name.to_string(), of_sandbox(dir), Start::WhereItEnds)?)
}

/// As [`observe`], for a sandbox without a name.
pub(crate) fn observe_unnamed(engine: &Engine, id: SandboxId) -> Option<Arc<dyn Observer>> {
    Some(Log::of(engine, id, id.to_string(), shared(&engine.host), Start::Anew)?)
}

/// The log of one sandbox.
#[derive(Debug)]
struct Log {
    id: SandboxId,
    sandbox: String,
    audit: Audit,
    queue: Mutex<Queue>,
    /// Held while lines are written.
    pen: Mutex<Pen>,
    /// There is a task that writes.
    served: OnceLock<()>,
    wake: Arc<Notify>,
    own: Weak<Self>,
}

#[derive(Debug)]
struct Pen {
    journal: Journal,
    /// Destinations that the log of events knows.
    blocked: BTreeSet<String>,
    /// Lines of the chain when the log of events was told its end.
    told: u64,
    /// The same of the file beside the log.
    noted: u64,
}

impl Log {
    fn of(engine: &Engine, id: SandboxId, sandbox: String, path: PathBuf, start: Start) -> Option<Arc<Self>> {
        if engine.audit.is_off() {
            return None;
        }
        let (host, audit) = (engine.host.clone(), engine.audit.clone());
        Some(Arc::new_cyclic(|own| Self {
            pen: Mutex::new(Pen {
                journal: Journal::new(host, path, sandbox.clone(), start),
                blocked: BTreeSet::new(),
                told: 0,
                noted: 0,
            }),
            id,
            sandbox,
            audit,
            queue: Mutex::default(),
            served: OnceLock::new(),
            wake: Arc::default(),
            own: own.clone(),
        }))
    }

    /// Never blocks: the queue is only held for moments, and never while something is written.
    fn push(&self, entry: Entry) {
        self.queue().push(entry, Instant::now());
        // The first line of all starts the task: most sandboxes never have one. Without a runtime this process is
        // ending, and what is left is written when the log is dropped.
        if let Ok(runtime) = runtime::Handle::try_current()
            && self.served.set(()).is_ok()
        {
            runtime.spawn(serve(self.own.clone(), Arc::clone(&self.wake)));
        }
        self.wake.notify_one();
    }

    /// Writes what there is, until `until`. Blocks.
    fn write(&self, until: Until) {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Not in the condition: the queue would be held while something is written.
            let next = self.queue().next(until);
            let Some(entry) = next else { break };
            self.tell_blocked(&mut pen.blocked, &entry);
            match pen.journal.append(&entry) {
                Ok(Fate::Written) => {}
                Ok(Fate::TooMuch) => self.queue().lose(&entry, Instant::now()),
                Err(error) => {
                    self.audit.trouble(error);
                    self.queue().not_written(entry, Instant::now());
                    // The disk may be full for long: what comes later tries again.
                    break;
                }
            }
        }
        let Pen { journal, noted, .. } = &mut *pen;
        if let Err(error) = journal.note_end(noted) {
            self.audit.trouble(error);
        }
    }

    /// Writes everything, and tells the log of events where the chain ends.
    fn end(&self) {
        self.write(Until::TheEnd);
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        let Pen { journal, told, .. } = &mut *pen;
        if let Some((lines, last)) = journal.end().filter(|(lines, _)| lines != told) {
            self.audit.connections_written(&self.sandbox, self.id, lines, last);
            *told = lines;
        }
    }

    fn tell_blocked(&self, blocked: &mut BTreeSet<String>, entry: &Entry) {
        let Some(to) = entry.blocked() else { return };
        if blocked.len() < MOST_BLOCKED && blocked.insert(to.to_owned()) {
            self.audit.network_blocked(&self.sandbox, to, entry.why());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whenever there is something, until the log is gone. The gateway's tasks share this thread, and a disk can be
/// slow: another thread writes.
async fn serve(log: Weak<Log>, wake: Arc<Notify>) {
    loop {
        let due = match log.upgrade() {
            Some(log) => log.queue().due(),
            None => return,
        };
        let is_due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = wake.notified() => {}
            () = is_due => {}
        }
        let Some(log) = log.upgrade() else { return };
        if spawn_blocking(move || log.write(Until::Now(Instant::now()))).await.is_err() {
            // The runtime is ending; what is left is written when the log is dropped.
            return;
        }
    }
}

impl Observer for Log {
    fn connection(&self, connection: &Connection) {
        self.push(Entry::of_connection(connection));
    }

    fn asked_name(&self, name: &str) {
        self.push(Entry::of_asked_name(name));
    }

    fn refused_name(&self, name: &str, rule: Option<&str>) {
        self.push(Entry::of_name(name, rule));
    }

    fn request(&self, request: &Request) {
        self.push(Entry::of_request(request));
    }

    fn shortage(&self, shortage: Shortage) {
        self.push(Entry::of_shortage(shortage));
    }

    fn finished(&self) {
        self.end();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
        // The task finds nobody and ends.
        self.wake.notify_one();
    }
}

#[cfg(test)]
#[path = "connections/connections_tests.rs"]
mod tests;
