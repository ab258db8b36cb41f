//! Control groups: limits on memory, processors and processes, on v1, hybrid and pure v2 hierarchies.
//!
//! A sandbox's group is made beside or below the caller's own, so that whatever limits the caller limits the sandbox as
//! well. Joining never moves a process from outside: that waits for an RCU grace period (7 ms here). On v2 init is
//! born in its group; on v1 it writes `0` to `tasks`, which the kernel does without that wait.

use agentkernel_backend::Stats;
use agentkernel_model::limits::Limits;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const ROOT: &str = "/sys/fs/cgroup";
/// Every group of agentkernel is named this and the id of its run or sandbox.
const PREFIX: &str = "agentkernel-";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Where groups of this process can be made, by controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    kind: Version,
    /// One directory for each controller that can be used; on v2 they are all the same.
    bases: Vec<(&'static str, PathBuf)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Version {
    #[default]
    V1,
    V2,
}

impl Hierarchy {
    /// Looks at this process's own groups.
    pub(crate) fn find() -> Self {
        Self::find_in(Path::new(ROOT), &fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
    }

    /// `membership` is the text of /proc/self/cgroup.
    fn find_in(root: &Path, membership: &str) -> Self {
        const CGROUP2_MAGIC: i64 = 0x6367_7270;
        let is_v2 = rustix::fs::statfs(root).is_ok_and(|s| s.f_type == CGROUP2_MAGIC);
        if is_v2 { Self::find_v2(root, membership) } else { Self::find_v1(root, membership) }
    }

    fn find_v1(root: &Path, membership: &str) -> Self {
        let mut bases = Vec::new();
        for controller in CONTROLLERS {
            let own = membership.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers.split(',').any(|c| c == controller).then_some(path)
            });
            let Some(own) = own else { continue };
            let mount = root.join(controller);
            // Inside a container the path is the host's and does not exist: then the mount's root is the caller's own.
            let base = mount.join(own.trim_start_matches('/'));
            let base = if base.is_dir() { base } else { mount };
            if writable(&base) {
                bases.push((controller, base));
            }
        }
        Self { kind: Version::V1, bases }
    }

    /// The nearest directory from the parent of the own group upwards that is delegated to the caller: groups with
    /// processes cannot have children with controllers, so the own group itself will not do, except at the root.
    fn find_v2(root: &Path, membership: &str) -> Self {
        let own = membership.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or("/");
        let own = root.join(own.trim_start_matches('/'));
        let start = if own == root { root } else { own.parent().unwrap_or(root) };
        for base in start.ancestors().take_while(|a| a.starts_with(root)) {
            if !writable(base) || !writable(&base.join("cgroup.procs")) {
                continue;
            }
            let enabled = fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default();
            let available = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
            let has = |list: &str, controller: &str| list.split_whitespace().any(|c| c == controller);
            let mut bases = Vec::new();
            for controller in CONTROLLERS {
                let usable = has(&enabled, controller)
                    || (has(&available, controller)
                        && fs::write(base.join("cgroup.subtree_control"), format!("+{controller}")).is_ok());
                if usable {
                    bases.push((controller, base.to_owned()));
                }
            }
            if !bases.is_empty() {
                return Self { kind: Version::V2, bases };
            }
        }
        Self { kind: Version::V2, bases: Vec::new() }
    }

    /// Whether limits of `controller` can be enforced.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.bases.iter().any(|(c, _)| *c == controller)
    }

    pub(crate) const fn describe(&self) -> &'static str {
        match (self.kind, self.bases.is_empty()) {
            (_, true) => "none that this user may write",
            (Version::V1, false) => "v1",
            (Version::V2, false) => "v2",
        }
    }

    /// The group of run or sandbox `id`, not made yet; `None` when there is no hierarchy to make it in.
    pub(crate) fn group(&self, id: &str) -> Option<Group> {
        let mut dirs: Vec<(String, PathBuf)> = Vec::new();
        for (controller, base) in &self.bases {
            dirs.push(((*controller).to_owned(), base.join(format!("{PREFIX}{id}"))));
        }
        (!dirs.is_empty()).then_some(Group { kind: self.kind, dirs })
    }
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The group of one sandbox: a directory for each controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    kind: Version,
    dirs: Vec<(String, PathBuf)>,
}

/// What a process needs to join a group.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// v1: the `tasks` files.
    tasks: Vec<OwnedFd>,
    /// v2: the directory.
    dir: Option<OwnedFd>,
}

impl Entry {
    /// For clone3's `CLONE_INTO_CGROUP`.
    pub(crate) fn birthplace(&self) -> Option<BorrowedFd<'_>> {
        self.dir.as_ref().map(AsFd::as_fd)
    }

    /// Files of the groups that the new process joins itself, by [`join`].
    pub(crate) fn tasks(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(AsFd::as_fd)
    }
}

/// Joins the v1 group whose `tasks` file this is, from inside the new process.
pub(crate) fn join(tasks: &OwnedFd) -> Result<(), Errno> {
    rustix::io::write(tasks, b"0").map(drop)
}

impl Group {
    /// Whether init must be born in the group, which must then exist before.
    pub(crate) fn is_birthplace(&self) -> bool {
        self.kind == Version::V2
    }

    /// The group that [`Group::to_text`] described.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let kind = match lines.next()? {
            "v1" => Version::V1,
            "v2" => Version::V2,
            _ => return None,
        };
        let dirs = lines.filter_map(|l| l.split_once(' ')).map(|(c, d)| (c.to_owned(), PathBuf::from(d)));
        // Only directories that carry this project's mark are ever removed, whatever a damaged file says.
        let ours = |d: &Path| {
            d.starts_with(ROOT)
                && d.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        };
        Some(Self { kind, dirs: dirs.filter(|(_, d)| ours(d)).collect() })
    }

    /// One line for the version and one for each directory.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from(if self.kind == Version::V1 { "v1\n" } else { "v2\n" });
        for (controller, dir) in &self.dirs {
            text.push_str(&format!("{controller} {}\n", dir.display()));
        }
        text
    }

    /// Makes the directories and writes the limits. After an error nothing is left.
    pub(crate) fn create(&self, limits: &Limits) -> io::Result<Entry> {
        let made = self.try_create(limits);
        if made.is_err() {
            let _ = self.remove();
        }
        made
    }

    fn try_create(&self, limits: &Limits) -> io::Result<Entry> {
        let mut entry = Entry::default();
        for (controller, dir) in &self.dirs {
            match fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            for (file, value) in settings(self.kind, controller, limits) {
                fs::write(dir.join(file), value)?;
            }
            let flags = OFlags::CLOEXEC;
            match self.kind {
                Version::V1 => {
                    entry.tasks.push(rustix::fs::open(
                        dir.join("tasks"),
                        flags | OFlags::WRONLY,
                        Mode::empty(),
                    )?);
                }
                Version::V2 if entry.dir.is_none() => {
                    let open = flags | OFlags::RDONLY | OFlags::DIRECTORY;
                    entry.dir = Some(rustix::fs::open(dir, open, Mode::empty())?);
                }
                Version::V2 => {}
            }
        }
        Ok(entry)
    }

    /// Removes the directories; processes that are still in them are killed and waited for.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for (_, dir) in &self.dirs {
            // Twice: a process that is being waited for may have a child that is not listed yet.
            for attempt in 0..3 {
                match fs::remove_dir(dir) {
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) && attempt < 2 => kill_members(dir),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                    Err(e) => return Err(e),
                    Ok(()) => break,
                }
            }
        }
        Ok(())
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        let dir = self.dirs.iter().find(|(c, _)| c == controller).map(|(_, d)| d)?;
        fs::read_to_string(dir.join(file)).ok()
    }

    /// Whether the kernel killed a process of the group because memory ran out.
    pub(crate) fn out_of_memory(&self) -> bool {
        let file = if self.kind == Version::V1 { "memory.oom_control" } else { "memory.events" };
        let text = self.read("memory", file).unwrap_or_default();
        text.lines().filter_map(|l| l.strip_prefix("oom_kill ")).any(|n| n.trim() != "0")
    }

    pub(crate) fn stats(&self) -> Stats {
        let number = |controller, file| self.read(controller, file)?.trim().parse::<u64>().ok();
        let v1 = self.kind == Version::V1;
        let cpu = self
            .read("cpu", "cpu.stat")
            .and_then(|text| text.lines().find_map(|l| l.strip_prefix("usage_usec ")?.trim().parse().ok()));
        Stats {
            memory_bytes: number("memory", if v1 { "memory.usage_in_bytes" } else { "memory.current" }),
            cpu_micros: cpu,
            pids: number("pids", "pids.current"),
        }
    }
}

/// File and value of each limit of one controller.
fn settings(kind: Version, controller: &str, limits: &Limits) -> Vec<(&'static str, String)> {
    const PERIOD_MICROS: u64 = 100_000;
    let mut settings = Vec::new();
    match (controller, kind) {
        ("memory", Version::V1) => {
            if let Some(limit) = limits.memory.filter(|_| !crate::mutation::off("memory-limit")) {
                settings.push(("memory.limit_in_bytes", limit.value().bytes().to_string()));
            }
        }
        ("memory", Version::V2) => {
            if let Some(limit) = limits.memory.filter(|_| !crate::mutation::off("memory-limit")) {
                settings.push(("memory.max", limit.value().bytes().to_string()));
                settings.push(("memory.swap.max", "0".to_owned()));
            }
        }
        ("cpu", _) => {
            if let Some(limit) = limits.cpus {
                let quota = u64::from(limit.value().milli()) * PERIOD_MICROS / 1000;
                match kind {
                    Version::V1 => settings.push(("cpu.cfs_quota_us", quota.max(1000).to_string())),
                    Version::V2 => settings.push(("cpu.max", format!("{} {PERIOD_MICROS}", quota.max(1000)))),
                }
            }
        }
        ("pids", _) => {
            // Init is one more than what was asked for.
            if let Some(limit) = limits.pids.filter(|_| !crate::mutation::off("pids-limit")) {
                settings.push(("pids.max", limit.value().saturating_add(1).to_string()));
            }
        }
        _ => {}
    }
    settings
}

fn kill_members(dir: &Path) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|l| Pid::from_raw(l.parse().ok()?));
    for pid in pids {
        let Ok(fd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
        if rustix::process::pidfd_send_signal(&fd, Signal::KILL).is_ok() {
            use rustix::event::{PollFd, PollFlags, poll};
            let limit = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
        }
    }
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
