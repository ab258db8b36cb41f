//! Control groups: limits on memory, processors and processes, on v1, hybrid and pure v2 hierarchies.
//!
//! A sandbox's group is made beside or below the caller's own, so that whatever limits the caller limits the sandbox as
//! well. Joining never moves a process from outside: that waits for an RCU grace period (7 ms here). On v2 init is
//! born in its group; on v1 it writes `0` to `tasks`, which the kernel does without that wait. Only where this user may
//! make no group, systemd is asked to, and moves init while it begins.

mod bus;
mod dbus;
mod limits;
mod systemd;

use agentkernel_backend::Stats;
use agentkernel_model::{
    Error, Kind,
    limits::{Limit, Limits},
};
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

use limits::{holds, settings};
use systemd::{Manager, Whose};

const ROOT: &str = "/sys/fs/cgroup";
/// Every group of agentkernel is named this and the id of its run or sandbox.
const PREFIX: &str = "agentkernel-";
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// What counts the time of processors on v1.
const ACCOUNTS: &str = "cpuacct";

/// Where groups of this process can be made, by controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    kind: Version,
    /// One directory for each controller that can be used; on v2 they are all the same.
    bases: Vec<(&'static str, PathBuf)>,
    /// Where v1 counts the time of processors, where that is not where it limits it.
    accounts: Option<PathBuf>,
    /// Who makes the groups, where this process may not.
    manager: Option<Manager>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Version {
    #[default]
    V1,
    V2,
    /// A scope of systemd's, on v2.
    Scope,
}

impl Hierarchy {
    /// Looks at this process's own groups.
    pub(crate) fn find() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let uid = rustix::process::geteuid().as_raw();
        Self::find_in(Path::new(ROOT), &own).or_manager(Path::new(ROOT), Path::new("/run"), uid)
    }

    /// On v2 without a directory to make groups in: with a systemd that makes them, where there is one.
    fn or_manager(self, root: &Path, run: &Path, uid: u32) -> Self {
        if self.kind != Version::V2 || !self.bases.is_empty() {
            return self;
        }
        let Some((manager, controllers)) = Manager::find(root, run, uid) else { return self };
        let bases = controllers.into_iter().map(|c| (c, root.to_owned())).collect();
        Self { kind: Version::Scope, bases, accounts: None, manager: Some(manager) }
    }

    /// `membership` is the text of /proc/self/cgroup.
    fn find_in(root: &Path, membership: &str) -> Self {
        const CGROUP2_MAGIC: i64 = 0x6367_7270;
        let is_v2 = rustix::fs::statfs(root).is_ok_and(|s| s.f_type == CGROUP2_MAGIC);
        if is_v2 { Self::find_v2(root, membership) } else { Self::find_v1(root, membership) }
    }

    fn find_v1(root: &Path, membership: &str) -> Self {
        let base = |controller| {
            let own = v1_path(membership, controller)?;
            let mount = root.join(controller);
            // Inside a container the path is the host's and does not exist: then the mount's root is the caller's own.
            let base = mount.join(own.trim_start_matches('/'));
            let base = if base.is_dir() { base } else { mount };
            writable(&base).then_some(base)
        };
        let bases = CONTROLLERS.iter().filter_map(|c| Some((*c, base(c)?))).collect();
        let joint = membership.lines().any(|line| has_controllers(line, &["cpu", ACCOUNTS]));
        let accounts = if joint { None } else { base(ACCOUNTS) };
        Self { kind: Version::V1, bases, accounts, manager: None }
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
                return Self { kind: Version::V2, bases, accounts: None, manager: None };
            }
        }
        Self { kind: Version::V2, bases: Vec::new(), accounts: None, manager: None }
    }

    /// Whether limits of `controller` can be enforced.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.bases.iter().any(|(c, _)| *c == controller)
    }

    pub(crate) fn describe(&self) -> &'static str {
        match (self.kind, self.bases.is_empty(), self.manager.as_ref().map(|m| m.whose)) {
            (_, true, _) => "none that this user may write",
            (Version::V1, ..) => "v1",
            (Version::V2, ..) => "v2",
            (Version::Scope, _, Some(Whose::System)) => "systemd (system)",
            (Version::Scope, ..) => "systemd (user)",
        }
    }

    /// The group of run or sandbox `id`, not made yet; `None` when there is no hierarchy to make it in.
    pub(crate) fn group(&self, id: &str) -> Option<Group> {
        if let Some(manager) = &self.manager {
            let controllers = self.bases.iter().map(|(c, _)| *c).collect();
            let request = Request { manager: manager.clone(), id: id.to_owned(), controllers };
            return Some(Group { kind: self.kind, dirs: Vec::new(), request: Some(request) });
        }
        let mut dirs: Vec<(String, PathBuf)> = Vec::new();
        for (controller, base) in &self.bases {
            dirs.push(((*controller).to_owned(), base.join(format!("{PREFIX}{id}"))));
        }
        (!dirs.is_empty()).then_some(Group { kind: self.kind, dirs, request: None })
    }

    /// As [`Self::group`], of a sandbox that somebody may ask how busy it is: one directory more on some machines.
    pub(crate) fn counted_group(&self, id: &str) -> Option<Group> {
        let mut group = self.group(id)?;
        let accounts = self.accounts.iter().map(|base| base.join(format!("{PREFIX}{id}")));
        group.dirs.extend(accounts.map(|dir| (ACCOUNTS.to_owned(), dir)));
        Some(group)
    }
}

/// Whether this line of /proc/self/cgroup is about all of `controllers`.
fn has_controllers(line: &str, controllers: &[&str]) -> bool {
    let list = line.split(':').nth(1).unwrap_or_default();
    controllers.iter().all(|wanted| list.split(',').any(|own| own == *wanted))
}

/// The caller's own group of `controller`.
fn v1_path<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    let line = membership.lines().find(|line| has_controllers(line, &[controller]))?;
    line.splitn(3, ':').nth(2)
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The group of one sandbox: a directory for each controller. A scope has none before [`Group::enclose`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    kind: Version,
    dirs: Vec<(String, PathBuf)>,
    /// Of a scope that is not made yet.
    request: Option<Request>,
}

/// What to ask systemd for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    manager: Manager,
    id: String,
    controllers: Vec<&'static str>,
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

    /// Whether systemd makes the group, around an init that exists already.
    pub(crate) fn is_scope(&self) -> bool {
        self.kind == Version::Scope
    }

    /// Has systemd make the scope and move `pid` into it; nothing for other groups.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when systemd does not, and when a limit does not hold afterwards. What it made goes when
    /// `pid` does.
    pub(crate) fn enclose(&mut self, pid: Pid, limits: &Limits) -> Result<(), Error> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let dir = request.manager.enclose(&request.id, pid, limits, &request.controllers)?;
        for controller in &request.controllers {
            // systemd only logs what it cannot set.
            for (file, value) in settings(self.kind, controller, limits) {
                if !holds(&dir, file, &value) {
                    let message = format!("systemd made {}, but did not set its {file}", dir.display());
                    return Err(Error::new(Kind::Unavailable, message)
                        .with_hint("see what 'journalctl --user -b' says of it"));
                }
            }
            self.dirs.push(((*controller).to_owned(), dir.clone()));
        }
        Ok(())
    }

    /// The group that [`Group::to_text`] described.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let kind = match lines.next()? {
            "v1" => Version::V1,
            "v2" => Version::V2,
            "systemd" => Version::Scope,
            _ => return None,
        };
        let dirs = lines.filter_map(|l| l.split_once(' ')).map(|(c, d)| (c.to_owned(), PathBuf::from(d)));
        // Only directories that carry this project's mark are ever removed, whatever a damaged file says.
        let ours = |d: &Path| {
            d.starts_with(ROOT)
                && d.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        };
        Some(Self { kind, dirs: dirs.filter(|(_, d)| ours(d)).collect(), request: None })
    }

    /// One line for the version and one for each directory.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::from(match self.kind {
            Version::V1 => "v1\n",
            Version::V2 => "v2\n",
            Version::Scope => "systemd\n",
        });
        for (controller, dir) in &self.dirs {
            text.push_str(&format!("{controller} {}\n", dir.display()));
        }
        text
    }

    /// Makes the directories and writes the limits; a scope is left to [`Group::enclose`]. After an error nothing is left.
    pub(crate) fn create(&self, limits: &Limits) -> io::Result<Entry> {
        let made = self.try_create(limits);
        if made.is_err() {
            let _ = self.remove();
        }
        made
    }

    fn try_create(&self, limits: &Limits) -> io::Result<Entry> {
        let mut entry = Entry::default();
        if self.is_scope() {
            return Ok(entry);
        }
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
                Version::V2 | Version::Scope => {}
            }
        }
        Ok(entry)
    }

    /// Writes `limits` to a group that exists.
    ///
    /// # Errors
    /// [`Kind::Conflict`] for less memory than can be left in use, [`Kind::Unsupported`] for a limit that this group cannot
    /// have.
    pub(crate) fn set(&self, limits: &Limits) -> Result<(), Error> {
        if let Some(limit) = limits.memory {
            let held = self.unreclaimable();
            if held > limit.value().bytes() {
                // The kernel would kill what is inside, or refuse.
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the sandbox holds {} MB of memory, more than {}", held >> 20, limit.value()),
                )
                .with_hint("end something in it first, or allow more"));
            }
        }
        let required = [
            ("memory", limits.memory.is_some_and(Limit::is_required)),
            ("cpu", limits.cpus.is_some_and(Limit::is_required)),
        ];
        for (controller, _) in required.into_iter().filter(|(_, required)| *required) {
            if !self.dirs.iter().any(|(c, _)| c == controller) {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("the control group of the sandbox has no limit of {controller}"),
                )
                .with_hint("see 'agentkernel doctor'; a new start may give it one"));
            }
        }
        for (controller, dir) in &self.dirs {
            for (file, value) in settings(self.kind, controller, limits) {
                let path = dir.join(file);
                match fs::write(&path, &value) {
                    // A kernel without swap needs no limit of it.
                    Err(e) if file == "memory.swap.max" && e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                        return Err(Error::new(
                            Kind::Conflict,
                            format!("what is in use in the sandbox does not fit into {file} {value}"),
                        )
                        .with_source(e)
                        .with_hint("end something in it first, or allow more"));
                    }
                    written => written.map_err(|e| {
                        Error::io(format!("cannot write {value} to {}", path.display()), e)
                            .with_hint("the limit may be less than what is in use")
                    })?,
                }
            }
        }
        Ok(())
    }

    /// Bytes of memory that the kernel cannot take back without killing: what belongs to processes, and files in memory.
    fn unreclaimable(&self) -> u64 {
        let text = self.read("memory", "memory.stat").unwrap_or_default();
        let names = if self.kind == Version::V1 { ["rss ", "shmem "] } else { ["anon ", "shmem "] };
        let number = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
        names.into_iter().filter_map(number).fold(0, u64::saturating_add)
    }

    /// Removes the directories; processes that are still in them are killed and waited for. That of a scope is removed
    /// by systemd then.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for (_, dir) in &self.dirs {
            if self.is_scope() {
                kill_members(dir);
                continue;
            }
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
        let cpu = if v1 {
            // With the limits where both are one hierarchy.
            let nanos = [ACCOUNTS, "cpu"].into_iter().find_map(|c| number(c, "cpuacct.usage"));
            nanos.map(|nanos| nanos / 1000)
        } else {
            let text = self.read("cpu", "cpu.stat");
            text.and_then(|text| {
                text.lines().find_map(|l| l.strip_prefix("usage_usec ")?.trim().parse().ok())
            })
        };
        Stats {
            memory_bytes: number("memory", if v1 { "memory.usage_in_bytes" } else { "memory.current" }),
            cpu_micros: cpu,
            pids: number("pids", "pids.current"),
        }
    }
}

/// Kills the processes of a group and waits for each. A number is only believed while it is still listed after its
/// process was taken hold of: numbers are used again.
fn kill_members(dir: &Path) {
    let members = || fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    if fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        members().lines().filter_map(hold).for_each(|fd| wait_for(&fd));
        return;
    }
    for line in members().lines() {
        let Some(fd) = hold(line) else { continue };
        if members().lines().any(|l| l == line)
            && rustix::process::pidfd_send_signal(&fd, Signal::KILL).is_ok()
        {
            wait_for(&fd);
        }
    }
}

fn hold(line: &str) -> Option<OwnedFd> {
    let pid = Pid::from_raw(line.parse().ok()?)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn wait_for(process: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    let limit = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit));
}

#[cfg(test)]
mod tests;
