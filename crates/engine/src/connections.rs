//! What sandboxes did outside: one line of JSON for each connection, request and refused name.
//!
//! A named sandbox has a file in its own directory, which goes with it; those of `run` and of warm sandboxes share one
//! beside the log of events, by their uuid. The lines of one sandbox are a chain: each holds the SHA-256 of the one before
//! it, so that a line that was changed or taken out is seen (`audit verify`), but for those at the end. In the shared
//! file every sandbox has a chain of its own: writers never wait for each other.
//!
//! The gateway is never held up: what it tells waits in a bounded queue for a task that writes, and what finds the queue
//! full is counted, and the number written.

mod entry;
mod follow;
mod journal;
mod reader;
mod verify;

pub use follow::Following;
pub use verify::{Broken, Verified};

pub(crate) use follow::follow;
pub(crate) use reader::read;
pub(crate) use verify::verify;

use crate::{audit::Audit, directories::SandboxDir, engine::Engine};
use agentkernel_backend::Host;
use agentkernel_egress::{Connection, Observer, Request};
use agentkernel_model::{id::SandboxId, name::SandboxName};
use entry::Entry;
use journal::{Journal, Start};
use reader::Wanted;
use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::{runtime, sync::Notify};

const NAME: &str = "connections.jsonl";
/// What waits to be written; what comes when so much does is counted and forgotten.
const WAITING: usize = 1024;
/// Lines that are written before others of the runtime have their turn.
const AT_ONCE: usize = 16;
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

/// Who is told about the connections of the named sandbox in `dir`; nobody where the log is turned off. Does no I/O.
pub(crate) fn observe(engine: &Engine, name: &SandboxName, dir: &SandboxDir) -> Option<Arc<dyn Observer>> {
    Log::of(engine, name.to_string(), of_sandbox(dir), Start::WhereItEnds)
}

/// As [`observe`], for a sandbox without a name.
pub(crate) fn observe_unnamed(engine: &Engine, id: SandboxId) -> Option<Arc<dyn Observer>> {
    Log::of(engine, id.to_string(), shared(&engine.host), Start::Anew)
}

/// The log of one sandbox.
#[derive(Debug)]
struct Log {
    sandbox: String,
    audit: Audit,
    queue: Mutex<Queue>,
    /// Held while lines are written.
    journal: Mutex<Journal>,
    wake: Arc<Notify>,
    own: Weak<Self>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    /// Entries that found no place, or could not be written.
    lost: u64,
    /// Whether there is a task that writes.
    served: bool,
    /// Destinations that the log of events knows.
    blocked: BTreeSet<String>,
}

/// Whether there may be more to write.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

impl Log {
    fn of(engine: &Engine, sandbox: String, path: PathBuf, start: Start) -> Option<Arc<dyn Observer>> {
        if engine.audit.is_off() {
            return None;
        }
        let (host, audit) = (engine.host.clone(), engine.audit.clone());
        Some(Arc::new_cyclic(|own| Self {
            journal: Mutex::new(Journal::new(host, path, sandbox.clone(), start)),
            sandbox,
            audit,
            queue: Mutex::default(),
            wake: Arc::default(),
            own: own.clone(),
        }))
    }

    /// Never blocks: the queue is only held for moments, and never while something is written.
    fn push(&self, entry: Entry) {
        let mut queue = self.queue();
        if queue.waiting.len() < WAITING {
            queue.waiting.push_back(entry);
        } else {
            queue.lost += 1;
        }
        // The first line of all starts the task: most sandboxes never have one. Without a runtime this process is
        // ending, and what is left is written when the log is dropped.
        if !queue.served
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            queue.served = true;
            runtime.spawn(serve(self.own.clone(), Arc::clone(&self.wake)));
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Writes everything that waits.
    fn flush(&self) {
        while self.write(usize::MAX) == Left::More {}
    }

    /// Writes at most so many of what waits.
    fn write(&self, most: usize) -> Left {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..most {
            let (entry, lost) = {
                let mut queue = self.queue();
                (queue.waiting.pop_front(), std::mem::take(&mut queue.lost))
            };
            let lost = (lost > 0).then(|| Entry::lost(lost));
            if lost.is_none() && entry.is_none() {
                return Left::Nothing;
            }
            for entry in lost.into_iter().chain(entry) {
                self.tell_blocked(&entry);
                if let Err(error) = journal.append(&entry) {
                    self.audit.trouble(error);
                    self.queue().lost += entry.lines();
                    // The disk may be full for long: what comes later tries again.
                    return Left::Nothing;
                }
            }
        }
        Left::More
    }

    fn tell_blocked(&self, entry: &Entry) {
        let Some(to) = entry.blocked() else { return };
        let is_new = {
            let blocked = &mut self.queue().blocked;
            blocked.len() < MOST_BLOCKED && blocked.insert(to.to_owned())
        };
        if is_new {
            self.audit.network_blocked(&self.sandbox, to, entry.why());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whenever there is something, until the log is gone.
async fn serve(log: Weak<Log>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        loop {
            let Some(log) = log.upgrade() else { return };
            if log.write(AT_ONCE) == Left::Nothing {
                break;
            }
            drop(log);
            // The gateway's tasks share this thread.
            tokio::task::yield_now().await;
        }
    }
}

impl Observer for Log {
    fn connection(&self, connection: &Connection) {
        self.push(Entry::of_connection(connection));
    }

    fn refused_name(&self, name: &str) {
        self.push(Entry::of_name(name));
    }

    fn request(&self, request: &Request) {
        self.push(Entry::of_request(request));
    }

    fn finished(&self) {
        self.flush();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        // The task finds nobody and ends.
        self.wake.notify_one();
    }
}

#[cfg(test)]
#[path = "connections/connections_tests.rs"]
mod tests;
