//! Control groups by grace of systemd: on a machine with pure v2, where an ordinary user's shell is in a group that only
//! root may change, the user's own systemd moves a process into a scope with limits when it is asked over D-Bus.
//!
//! The scope belongs to systemd, which removes it when its last process is gone: nothing here is to be cleaned up.

use super::{
    bus::{Bus, Trouble},
    dbus::{Encoder, Kind, Message},
};
use agentkernel_model::{Error, Kind as ErrorKind, Result, limits::Limits};
use rustix::{fs::FileType, process::Pid};
use std::{
    fs,
    path::{Component, Path, PathBuf},
    time::Duration,
};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
/// For everything from connecting to the end of the job.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long systemd waits between SIGTERM and SIGKILL when it ends the scope by itself, as at the end of a session:
/// init does not hear SIGTERM, and nobody should wait the usual 90 s for it.
const STOP_MICROS: u64 = 5_000_000;
/// Ends of jobs that are kept until it is known which one is ours. Systemd answers before it runs a job, so that none
/// is the rule.
const MOST_EARLY_ENDS: usize = 64;

/// Whose systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    User(u32),
    System,
}

/// A systemd that can be asked for scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(super) whose: Whose,
    bus: PathBuf,
    /// Where the v2 hierarchy is mounted.
    root: PathBuf,
    patience: Duration,
}

impl Manager {
    /// The systemd of user `uid` below the v2 hierarchy `root`, and the controllers that it has for limits. Looks at
    /// files only: whether it answers is seen when it is asked. `run` is /run.
    pub(super) fn find(root: &Path, run: &Path, uid: u32) -> Option<(Self, Vec<&'static str>)> {
        let (whose, bus, own) = if uid == 0 {
            (Whose::System, run.join("dbus/system_bus_socket"), root.to_owned())
        } else {
            // systemd names both by the user's number (user@.service(5)).
            let group = format!("user.slice/user-{uid}.slice/user@{uid}.service");
            (Whose::User(uid), run.join(format!("user/{uid}/bus")), root.join(group))
        };
        let is_socket = rustix::fs::stat(&bus)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Socket && s.st_uid == uid);
        if !is_socket {
            return None;
        }
        let available = fs::read_to_string(own.join("cgroup.controllers")).ok()?;
        // The root group has no limit files, even where the kernel knows them.
        let can = |controller: &str, file: &str| {
            available.split_whitespace().any(|c| c == controller)
                && (whose == Whose::System || own.join(file).exists())
        };
        let files = [("memory", "memory.max"), ("cpu", "cpu.max"), ("pids", "pids.max")];
        let usable: Vec<&str> = files.into_iter().filter(|(c, f)| can(c, f)).map(|(c, _)| c).collect();
        let manager = Self { whose, bus, root: root.to_owned(), patience: PATIENCE };
        (!usable.is_empty()).then_some((manager, usable))
    }

    /// Moves process `pid` into a new scope for `id` and returns the scope's directory. `controllers` are those that
    /// limits are set for.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when systemd does not answer in time or refuses. The scope may exist all the same,
    /// and is gone when the process is.
    pub(super) fn enclose(
        &self,
        id: &str,
        pid: Pid,
        limits: &Limits,
        controllers: &[&str],
    ) -> Result<PathBuf> {
        // With the process id, because the scope of an earlier start may not be collected yet.
        let unit = format!("{}{id}-{}.scope", super::PREFIX, pid.as_raw_nonzero());
        let properties = Properties { id, pid, limits, controllers };
        self.start(&unit, &properties).map_err(|trouble| self.failed(trouble))?;
        self.directory(&unit, pid)
    }

    fn failed(&self, trouble: Trouble) -> Error {
        let (name, command) = match self.whose {
            Whose::User(_) => ("the user's systemd", "systemctl --user status"),
            Whose::System => ("systemd", "systemctl status"),
        };
        Error::new(ErrorKind::Unavailable, format!("{name} made no control group for the sandbox"))
            .with_source(trouble)
            .with_hint(format!("see what '{command}' says"))
            .retry_later()
    }

    /// Asks for the scope and waits until the job that makes it is done.
    fn start(&self, unit: &str, properties: &Properties<'_>) -> Result<(), Trouble> {
        let owner = if let Whose::User(uid) = self.whose { uid } else { 0 };
        let mut bus = Bus::connect(&self.bus, owner, self.patience)?;
        let hello = Message::call(BUS, "/org/freedesktop/DBus", BUS, "Hello");
        let rule =
            format!("type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',member='JobRemoved'");
        let listen = Message::call(BUS, "/org/freedesktop/DBus", BUS, "AddMatch")
            .with_body("s", |out| out.string(&rule));
        let start =
            Message::call(NAME, PATH, MANAGER, "StartTransientUnit").with_body("ssa(sv)a(sa(sv))", |out| {
                out.string(unit);
                out.string("fail");
                out.array(8, |out| properties.write(out));
                out.array(8, |_| {});
            });
        let [hello, listen, start] = bus.send([hello, listen, start])?;
        let mut job = None;
        let mut early = Vec::new();
        loop {
            let message = bus.receive()?;
            match (message.kind, message.reply_serial) {
                (Kind::Error, Some(serial)) if [hello, listen, start].contains(&serial) => {
                    let text = message.body("s").and_then(|mut body| body.string().map(str::to_owned));
                    return Err(Trouble::Answer(
                        message.error.clone().unwrap_or_default(),
                        text.unwrap_or_default(),
                    ));
                }
                (Kind::Return, Some(serial)) if serial == start => {
                    let path = message.body("o")?.string()?.to_owned();
                    let sought = Job { path, sender: message.sender.clone() };
                    if let Some(end) = early.iter().find(|e: &&End| e.job == sought) {
                        return end.outcome();
                    }
                    job = Some(sought);
                }
                (Kind::Signal, _) => {
                    let Some(end) = End::read(&message)? else { continue };
                    match &job {
                        Some(job) if end.job == *job => return end.outcome(),
                        None if early.len() < MOST_EARLY_ENDS => early.push(end),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }

    /// Where `pid` is now, which must be in `unit`.
    fn directory(&self, unit: &str, pid: Pid) -> Result<PathBuf> {
        let file = format!("/proc/{}/cgroup", pid.as_raw_nonzero());
        let text = fs::read_to_string(&file).map_err(|e| Error::io(format!("cannot read {file}"), e))?;
        let path = text.lines().find_map(|l| l.strip_prefix("0::/")).map(Path::new);
        let inside = |p: &&Path| {
            p.components().all(|c| matches!(c, Component::Normal(_)))
                && p.file_name().is_some_and(|n| n == unit)
        };
        path.filter(inside).map(|p| self.root.join(p)).ok_or_else(|| {
            let message = format!("systemd reported {unit}, but the sandbox is not in it");
            Error::new(ErrorKind::Unavailable, message)
                .with_hint("run 'agentkernel doctor'; in a container, mount its own control groups")
        })
    }
}

/// A job by its object path, which only `sender` may speak of: any program on a bus can send signals that look like
/// systemd's.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    path: String,
    sender: Option<String>,
}

/// A job that ended, and how.
#[derive(Debug)]
struct End {
    job: Job,
    result: String,
}

impl End {
    /// `None` when the signal is another one.
    fn read(signal: &Message) -> Result<Option<Self>, Trouble> {
        let is = |field: &Option<String>, text| field.as_deref() == Some(text);
        let removed =
            is(&signal.path, PATH) && is(&signal.interface, MANAGER) && is(&signal.member, "JobRemoved");
        // Of another shape it is not systemd's.
        if !removed || signal.signature != "uoss" {
            return Ok(None);
        }
        let mut body = signal.body("uoss")?;
        let (_number, path, _unit, result) = (body.u32()?, body.string()?, body.string()?, body.string()?);
        let job = Job { path: path.to_owned(), sender: signal.sender.clone() };
        Ok(Some(Self { job, result: result.to_owned() }))
    }

    fn outcome(&self) -> Result<(), Trouble> {
        if self.result == "done" { Ok(()) } else { Err(Trouble::Job(self.result.clone())) }
    }
}

/// What the scope is to be, as systemd's properties (org.freedesktop.systemd1(5)).
struct Properties<'a> {
    id: &'a str,
    pid: Pid,
    limits: &'a Limits,
    controllers: &'a [&'a str],
}

impl Properties<'_> {
    fn write(&self, out: &mut Encoder) {
        let mut property = |name: &str, signature: &str, value: &dyn Fn(&mut Encoder)| {
            out.pad(8);
            out.string(name);
            out.variant(signature, |out| value(out));
        };
        property("Description", "s", &|out| out.string(&format!("agentkernel sandbox {}", self.id)));
        // Otherwise a failed scope, as after running out of memory, would stay listed.
        property("CollectMode", "s", &|out| out.string("inactive-or-failed"));
        // Every controller then counts, limited or not; and one process that runs out of memory does not make systemd
        // end the others, which scopes without delegation do from version 253 on.
        property("Delegate", "b", &|out| out.u32(1));
        property("TimeoutStopUSec", "t", &|out| out.u64(STOP_MICROS));
        for (name, value) in self.limits() {
            property(name, "t", &|out| out.u64(value));
        }
        let pid = self.pid.as_raw_nonzero().get().cast_unsigned();
        property("PIDs", "au", &|out| out.array(4, |out| out.u32(pid)));
    }

    fn limits(&self) -> Vec<(&'static str, u64)> {
        let has = |controller| self.controllers.contains(&controller);
        let mut limits = Vec::new();
        let memory = self.limits.memory.filter(|_| has("memory") && !crate::mutation::off("memory-limit"));
        if let Some(memory) = memory {
            limits.push(("MemoryMax", memory.value().bytes()));
            limits.push(("MemorySwapMax", 0));
        }
        if let Some(cpus) = self.limits.cpus.filter(|_| has("cpu")) {
            // Microseconds of processor time in a second; the kernel takes no less than a hundredth.
            limits.push(("CPUQuotaPerSecUSec", (u64::from(cpus.value().milli()) * 1000).max(10_000)));
        }
        if let Some(pids) = self.limits.pids.filter(|_| has("pids") && !crate::mutation::off("pids-limit")) {
            // Init is one more than what was asked for.
            limits.push(("TasksMax", u64::from(pids.value()) + 1));
        }
        limits
    }
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
pub(super) mod tests;
