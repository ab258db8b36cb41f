//! What was done, for whoever asks later: one line of JSON per event, in a file that only its owner can read.
//!
//! The value of an environment variable never gets into it. That a line cannot be written never fails what was done.

mod event;
mod follow;
pub(crate) mod log;
pub(crate) mod reader;

pub(crate) use event::{MAX_LINE, cut, words_within};
pub use follow::Following;
pub(crate) use follow::follow;
pub use reader::{AuditEntry, AuditPage, AuditQuery};
pub(crate) use reader::{backwards, read};

use crate::{
    clock, directories,
    request::{GcReport, SandboxInfo},
};
use agentkernel_backend::{Host, Process};
use agentkernel_model::{
    Error, Kind, Result,
    command::ExecSpec,
    id::SandboxId,
    name::SandboxName,
    path::GuestPath,
    size::{ByteSize, Cpus},
    text::printable,
};
use agentkernel_store::{Reader, Record};
use event::Event;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// JSON bytes of a message or a path in a line.
const TEXT: usize = 1024;

/// The file of events.
pub(crate) fn path(host: &Host) -> PathBuf {
    host.data.join("audit.jsonl")
}

/// The events that `query` wants, and those that come.
pub(crate) fn follow_events(host: &Host, query: &AuditQuery) -> Result<(AuditPage, Following)> {
    directories::ensure(host)?;
    let wanted = query.clone();
    follow(path(host), None, |parts| reader::page(parts, query), Box::new(move |entry| wanted.wants(entry)))
}

/// Where events go. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Audit(Option<Arc<Sink>>);

#[derive(Debug)]
struct Sink {
    host: Host,
    trouble: Mutex<Trouble>,
}

/// Whether a line could not be written: told once.
#[derive(Debug)]
enum Trouble {
    None,
    New(Error),
    Told,
}

impl Audit {
    /// Nothing is written down.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Writes to `audit.jsonl` in the data directory of `host`. Does no I/O before the first event.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        Self(Some(Arc::new(Sink { host: host.clone(), trouble: Mutex::new(Trouble::None) })))
    }

    /// Why the first event that could not be written was not; `None` when all were, or after this was asked once.
    #[must_use]
    pub fn take_trouble(&self) -> Option<Error> {
        let sink = self.0.as_ref()?;
        let mut trouble = sink.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *trouble, Trouble::Told) {
            Trouble::New(error) => Some(error),
            before => {
                *trouble = before;
                None
            }
        }
    }

    /// A file of a sandbox was copied to this machine.
    pub fn file_read(&self, sandbox: &SandboxName, path: &GuestPath) {
        self.write(|| Event::FileRead { sandbox: sandbox.as_str(), path: cut(path.as_str(), TEXT) });
    }

    /// A file was copied into a sandbox.
    pub fn file_written(&self, sandbox: &SandboxName, path: &GuestPath) {
        self.write(|| Event::FileWritten { sandbox: sandbox.as_str(), path: cut(path.as_str(), TEXT) });
    }

    pub(crate) fn file_removed(&self, sandbox: &SandboxName, path: &GuestPath) {
        self.write(|| Event::FileRemoved { sandbox: sandbox.as_str(), path: cut(path.as_str(), TEXT) });
    }

    pub(crate) fn created(&self, name: &SandboxName, made: &Result<SandboxInfo>) {
        match made {
            Ok(info) => self.write(|| Event::SandboxCreated {
                name: info.name.as_str(),
                image: &info.image,
                backend: info.backend.as_str(),
                labels: event::labels(&info.labels),
            }),
            Err(error) => self.failed(Some(name), error),
        }
    }

    pub(crate) fn started(&self, record: &Record) {
        self.write(|| Event::SandboxStarted {
            name: record.name.as_str(),
            profile: record.spec().ok().map(|spec| spec.policy.profile.to_string()),
        });
    }

    /// `reason` is what ended it when nobody asked for that.
    pub(crate) fn stopped(&self, name: &SandboxName, reason: Option<&str>) {
        self.write(|| Event::SandboxStopped { name: name.as_str(), reason });
    }

    pub(crate) fn updated(&self, name: &SandboxName, labels: &BTreeMap<String, String>) {
        self.write(|| Event::SandboxUpdated { name: name.as_str(), labels: event::labels(labels) });
    }

    pub(crate) fn extended(&self, name: &SandboxName, expires_at: &str) {
        self.write(|| Event::SandboxExtended { name: name.as_str(), expires_at });
    }

    pub(crate) fn resized(&self, name: &SandboxName, memory: Option<ByteSize>, cpus: Option<Cpus>) {
        self.write(|| Event::SandboxResized {
            name: name.as_str(),
            memory: memory.map(|memory| memory.to_string()),
            cpus: cpus.map(|cpus| cpus.to_string()),
        });
    }

    pub(crate) fn removed(&self, name: &str) {
        self.write(|| Event::SandboxRemoved { name });
    }

    pub(crate) fn collected(&self, report: &GcReport) {
        report.removed.iter().for_each(|name| self.removed(name));
    }

    /// Something of the sandbox `name`, or of that uuid, was blocked.
    pub(crate) fn network_blocked(&self, sandbox: &str, to: &str, why: &str) {
        self.write(|| Event::NetworkBlocked { sandbox, to: cut(to, TEXT), why: cut(why, TEXT) });
    }

    /// The chain of the sandbox `sandbox` in the log of connections has `lines`, and `last` is the hash of the last one.
    pub(crate) fn connections_written(&self, sandbox: &str, id: SandboxId, lines: u64, last: &str) {
        self.write(|| Event::ConnectionsWritten { sandbox, id: id.to_string(), lines, last });
    }

    pub(crate) fn network_changed(&self, name: &SandboxName, change: &NetworkChange<'_>) {
        self.write(|| Event::NetworkChanged {
            sandbox: name.as_str(),
            rules: change.rules,
            added: event::texts(change.added),
            removed: event::texts(change.removed),
            otherwise: change.otherwise,
        });
    }

    /// Whether nothing is written down.
    pub(crate) const fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// Something beside the events could not be written down.
    pub(crate) fn trouble(&self, error: Error) {
        let Some(sink) = &self.0 else { return };
        let mut trouble = sink.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*trouble, Trouble::None) {
            *trouble = Trouble::New(error);
        }
    }

    pub(crate) fn session(&self, name: &SandboxName) {
        self.write(|| Event::SessionAttached { sandbox: name.as_str() });
    }

    /// `result`, and its error written down as what happened to the sandbox `name`.
    pub(crate) fn watched<T>(&self, name: &SandboxName, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.failed(Some(name), error);
        }
        result
    }

    /// A spec that is refused and a sandbox that fails are events; what a caller mistyped is none.
    fn failed(&self, sandbox: Option<&SandboxName>, error: &Error) {
        let sandbox = sandbox.map(SandboxName::as_str);
        match error.kind() {
            Kind::Unsupported | Kind::Denied => self.write(|| Event::PolicyViolation {
                sandbox,
                policy: error.kind().as_str(),
                details: cut(&printable(&error.to_string()), TEXT),
            }),
            Kind::Internal | Kind::Unavailable | Kind::Exhausted | Kind::Timeout => {
                self.write(|| Event::SandboxError {
                    sandbox,
                    error: cut(&printable(&error.to_string()), TEXT),
                });
            }
            _ => {}
        }
    }

    fn write<'a>(&self, event: impl FnOnce() -> Event<'a>) {
        let Some(sink) = &self.0 else { return };
        if let Err(error) = sink.write(&event()) {
            self.trouble(error);
        }
    }

    /// A command that is about to begin; `sandbox` is `None` for one in a sandbox of its own.
    pub(crate) fn command(&self, sandbox: Option<&SandboxName>, command: &ExecSpec) -> Begun {
        let (command, command_cut) = match self.0 {
            Some(_) => event::words(command.argv.words()),
            None => (Vec::new(), false),
        };
        Begun { audit: self.clone(), sandbox: sandbox.cloned(), command, command_cut, begun: Instant::now() }
    }
}

impl Sink {
    fn write(&self, event: &Event<'_>) -> Result<()> {
        let line = event::line(&clock::rfc3339_millis(clock::now()), &self.host.login, event)?;
        let path = path(&self.host);
        let fail = |e| Error::io(format!("cannot write to '{}'", path.display()), e);
        let written = match log::append(&path, &line, log::LIMIT) {
            // The first event of all may be older than the data directory.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                directories::ensure(&self.host)?;
                log::append(&path, &line, log::LIMIT)
            }
            other => other,
        };
        written.map(|_| ()).map_err(fail)
    }
}

/// What became of the network rules of a sandbox.
#[derive(Debug)]
pub(crate) struct NetworkChange<'a> {
    /// How many there are now.
    pub(crate) rules: usize,
    pub(crate) added: &'a [String],
    pub(crate) removed: &'a [String],
    pub(crate) otherwise: &'a str,
}

/// Backend and image of a command's sandbox.
#[derive(Debug)]
pub(crate) enum Place {
    Known {
        /// `None`: none could be chosen.
        backend: Option<String>,
        image: String,
    },
    /// They stand in the record, which is read when there is time: after the command.
    Recorded { database: PathBuf },
}

/// A command that has not ended yet.
#[derive(Debug)]
pub(crate) struct Begun {
    audit: Audit,
    sandbox: Option<SandboxName>,
    command: Vec<String>,
    command_cut: bool,
    begun: Instant,
}

impl Begun {
    /// `process`, whose end is written down as soon as it is known, also when nobody waits for it to the end.
    pub(crate) fn follow(self, process: Process, place: Place) -> Process {
        if self.audit.0.is_none() {
            return process;
        }
        let Process { stdin, stdout, stderr, control, exit } = process;
        let mut followed = Followed(Some((self, place)));
        let exit = Box::pin(async move {
            let result = exit.await;
            match (&result, followed.0.take()) {
                (Ok(exit), Some((begun, place))) => begun.ended(Some(exit.code()), place),
                (Err(error), Some((begun, place))) => begun.failed(error, place),
                (_, None) => {}
            }
            result
        });
        Process { stdin, stdout, stderr, control, exit }
    }

    /// Writes down that the command did not begin because of `error`, which is returned.
    pub(crate) fn never_ran(self, error: Error, place: Place) -> Error {
        self.failed(&error, place);
        error
    }

    fn failed(self, error: &Error, place: Place) {
        match error.kind() {
            // A command as any other to whoever ran it, with an exit code.
            Kind::CommandNotFound | Kind::NotRunnable => self.ended(Some(error.kind().exit_code()), place),
            _ => self.audit.failed(self.sandbox.as_ref(), error),
        }
    }

    fn ended(self, exit_code: Option<u8>, place: Place) {
        let duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (backend, image) = match place {
            Place::Known { backend, image } => (backend, Some(image)),
            Place::Recorded { database } => recorded(&database, self.sandbox.as_ref()),
        };
        self.audit.write(|| Event::CommandExecuted {
            sandbox: self.sandbox.as_ref().map(SandboxName::as_str),
            command: &self.command,
            command_cut: self.command_cut,
            exit_code,
            backend,
            image,
            duration_ms,
        });
    }
}

/// What the record says; nothing when it is gone by now, or cannot be read.
fn recorded(database: &std::path::Path, name: Option<&SandboxName>) -> (Option<String>, Option<String>) {
    let record = name.and_then(|name| Reader::open(database).ok()??.by_name(name).ok()?);
    let Some(record) = record else { return (None, None) };
    (Some(record.backend.to_string()), record.spec().ok().map(|spec| spec.image.to_string()))
}

/// A command whose end nobody waits for any more is written down without one.
struct Followed(Option<(Begun, Place)>);

impl Drop for Followed {
    fn drop(&mut self) {
        if let Some((begun, place)) = self.0.take() {
            begun.ended(None, place);
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
