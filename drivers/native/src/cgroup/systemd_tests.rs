//! A real bus (dbus-daemon), the real protocol, real processes and, where the v2 hierarchy can be written, a real group.
//! Only systemd is made up: a thread that owns its name and does what each test says.

use super::*;
use crate::cgroup::{Group, Hierarchy, Request, Version, dbus::tests::transient};
use agentkernel_model::{
    limits::Limit,
    size::{ByteSize, Cpus},
};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

const LONG: Duration = Duration::from_secs(20);
const JOB: &str = "/org/freedesktop/systemd1/job/42";

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// A child that lives until it is dropped.
struct Killed(Child);

impl Killed {
    /// A process that does nothing.
    fn idle() -> Self {
        Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A message bus of the test's own.
struct Daemon {
    dir: tempfile::TempDir,
    _process: Killed,
}

impl Daemon {
    /// `None`, and says so, where dbus-daemon is not installed. `policy` is more rules of its configuration.
    fn start(policy: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>session</type>\
             <listen>unix:path={}/bus</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>{policy}</policy></busconfig>",
            dir.path().display()
        );
        fs::write(dir.path().join("config"), config).unwrap();
        let file = format!("--config-file={}/config", dir.path().display());
        let spawned = Command::new("dbus-daemon")
            .args([file.as_str(), "--nofork", "--nopidfile", "--nosyslog", "--print-address"])
            .stdout(Stdio::piped())
            // It complains about limits of its own.
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = spawned else {
            println!("skipped: dbus-daemon is not installed (scripts/setup)");
            return None;
        };
        // It prints its address when it listens.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        Some(Self { dir, _process: Killed(child) })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("bus")
    }

    fn connect(&self) -> Bus {
        let mut bus = Bus::connect(&self.socket(), me(), LONG).unwrap();
        call(&mut bus, &to_bus("Hello"));
        bus
    }

    /// The manager of the tests, whose groups are below `root`.
    fn manager(&self, root: &Path, patience: Duration) -> Manager {
        Manager { whose: Whose::User(me()), bus: self.socket(), root: root.to_owned(), patience }
    }

    /// Owns systemd's name and does `act` with its connection and the first call that comes.
    fn systemd(&self, act: impl FnOnce(&mut Bus, &Message) + Send + 'static) -> thread::JoinHandle<()> {
        let mut bus = self.connect();
        let (ready, is_ready) = mpsc::channel();
        let thread = thread::spawn(move || {
            call(
                &mut bus,
                &to_bus("RequestName").with_body("su", |out| {
                    out.string(NAME);
                    out.u32(0);
                }),
            );
            ready.send(()).unwrap();
            let start = loop {
                let message = bus.receive().unwrap();
                if message.kind == Kind::Call {
                    break message;
                }
            };
            assert_eq!(start.member.as_deref(), Some("StartTransientUnit"));
            assert_eq!((start.path.as_deref(), start.interface.as_deref()), (Some(PATH), Some(MANAGER)));
            act(&mut bus, &start);
        });
        is_ready.recv_timeout(LONG).unwrap();
        thread
    }
}

fn to_bus(member: &str) -> Message {
    Message::call(BUS, "/org/freedesktop/DBus", BUS, member)
}

/// Sends a call and waits for its answer, by which the bus has dealt with everything sent before.
fn call(bus: &mut Bus, message: &Message) {
    let [serial] = bus.send([message.clone()]).unwrap();
    loop {
        let answer = bus.receive().unwrap();
        if answer.reply_serial == Some(serial) {
            assert_eq!(answer.kind, Kind::Return, "{answer:?}");
            return;
        }
    }
}

fn answer(bus: &mut Bus, to: &Message, job: &str) {
    let mut reply = Message::new(Kind::Return).with_body("o", |out| out.string(job));
    reply.reply_serial = Some(to.serial);
    reply.destination.clone_from(&to.sender);
    bus.send([reply]).unwrap();
}

/// A JobRemoved signal: to everybody who listens, or to `to`.
fn removed(job: &str, unit: &str, result: &str, to: Option<&String>) -> Message {
    let mut signal = Message::call("x.y", PATH, MANAGER, "JobRemoved").with_body("uoss", |out| {
        out.u32(42);
        out.string(job);
        out.string(unit);
        out.string(result);
    });
    signal.kind = Kind::Signal;
    signal.destination = to.cloned();
    signal
}

fn unit_of(start: &Message) -> String {
    transient(start).unwrap().0
}

fn limits() -> Limits {
    Limits {
        memory: Some(Limit::Required(ByteSize::from_mib(64))),
        cpus: Some(Limit::Default(Cpus::from_milli(1500))),
        pids: Some(Limit::Default(20)),
    }
}

const ALL: [&str; 3] = ["memory", "cpu", "pids"];

/// What [`Manager::start`] says to a systemd that does `act`.
fn told(act: impl FnOnce(&mut Bus, &Message) + Send + 'static) -> Option<Result<(), Trouble>> {
    let daemon = Daemon::start("")?;
    let systemd = daemon.systemd(act);
    let process = Killed::idle();
    let properties = Properties { id: "x", pid: process.pid(), limits: &limits(), controllers: &ALL };
    let outcome = daemon.manager(Path::new("/nowhere"), LONG).start("agentkernel-x-1.scope", &properties);
    systemd.join().unwrap();
    Some(outcome)
}

#[test]
fn the_scope_is_asked_for_with_every_limit_as_systemd_spells_it() {
    let (seen, calls) = mpsc::channel();
    let outcome = told(move |bus, start| {
        let (unit, mode, properties) = transient(start).unwrap();
        answer(bus, start, JOB);
        bus.send([removed(JOB, &unit, "done", None)]).unwrap();
        seen.send((unit, mode, properties)).unwrap();
    });
    let Some(outcome) = outcome else { return };
    outcome.unwrap();
    let (unit, mode, properties) = calls.recv().unwrap();
    assert_eq!((unit.as_str(), mode.as_str()), ("agentkernel-x-1.scope", "fail"));
    let properties: Vec<[&str; 3]> = properties.iter().map(|p| p.each_ref().map(String::as_str)).collect();
    let (pid, rest) = properties.split_last().unwrap();
    assert_eq!(&pid[..2], ["PIDs", "au"]);
    assert!(pid[2].parse::<u32>().unwrap() > 1);
    assert_eq!(
        rest,
        [
            ["Description", "s", "agentkernel sandbox x"],
            ["CollectMode", "s", "inactive-or-failed"],
            ["Delegate", "b", "true"],
            ["TimeoutStopUSec", "t", "5000000"],
            ["MemoryMax", "t", "67108864"],
            ["MemorySwapMax", "t", "0"],
            ["CPUQuotaPerSecUSec", "t", "1500000"],
            ["TasksMax", "t", "21"],
        ]
    );
}

#[test]
fn only_what_this_systemd_controls_is_limited() {
    let process = Killed::idle();
    let limits = limits();
    let of = |controllers| Properties { id: "x", pid: process.pid(), limits: &limits, controllers }.limits();
    assert_eq!(of(&["pids"]), [("TasksMax", 21)]);
    assert_eq!(of(&["memory"]), [("MemoryMax", 64 << 20), ("MemorySwapMax", 0)]);
    assert_eq!(of(&[]), []);
}

#[test]
fn a_refusal_is_told_in_systemds_words() {
    let outcome = told(|bus, start| {
        let mut error = Message::new(Kind::Error).with_body("s", |out| out.string("no such \u{1b}[31mslice"));
        error.error = Some("org.freedesktop.systemd1.NoSuchUnit".to_owned());
        error.reply_serial = Some(start.serial);
        error.destination.clone_from(&start.sender);
        bus.send([error]).unwrap();
    });
    let Some(outcome) = outcome else { return };
    let trouble = outcome.unwrap_err();
    let expected = "no such \\u{1b}[31mslice (org.freedesktop.systemd1.NoSuchUnit)";
    assert_eq!(trouble.to_string(), expected, "and drives no terminal");
}

#[test]
fn a_job_that_fails_is_an_error() {
    let Some(outcome) = told(|bus, start| {
        answer(bus, start, JOB);
        bus.send([removed(JOB, &unit_of(start), "failed", None)]).unwrap();
    }) else {
        return;
    };
    assert!(matches!(&outcome, Err(Trouble::Job(result)) if result == "failed"), "{outcome:?}");
}

#[test]
fn a_job_that_ends_before_its_answer_counts() {
    let Some(outcome) = told(|bus, start| {
        bus.send([removed(JOB, &unit_of(start), "done", None)]).unwrap();
        answer(bus, start, JOB);
    }) else {
        return;
    };
    outcome.unwrap();
}

#[test]
fn signals_of_others_and_of_other_jobs_do_not_count() {
    let Some(daemon) = Daemon::start("") else { return };
    let mut stranger = daemon.connect();
    let systemd = daemon.systemd(move |bus, start| {
        let unit = unit_of(start);
        // Before and after the answer: a bus lets anybody send a signal straight to somebody.
        stranger.send([removed(JOB, &unit, "done", start.sender.as_ref())]).unwrap();
        call(&mut stranger, &to_bus("GetId"));
        answer(bus, start, JOB);
        call(bus, &to_bus("GetId"));
        stranger.send([removed(JOB, &unit, "done", start.sender.as_ref())]).unwrap();
        call(&mut stranger, &to_bus("GetId"));
        bus.send([removed("/org/freedesktop/systemd1/job/41", &unit, "done", None)]).unwrap();
        bus.send([removed(JOB, &unit, "timeout", None)]).unwrap();
    });
    let process = Killed::idle();
    let properties = Properties { id: "x", pid: process.pid(), limits: &limits(), controllers: &ALL };
    let outcome = daemon.manager(Path::new("/nowhere"), LONG).start("agentkernel-x-1.scope", &properties);
    systemd.join().unwrap();
    assert!(matches!(&outcome, Err(Trouble::Job(result)) if result == "timeout"), "{outcome:?}");
}

#[test]
fn no_answer_is_waited_for_only_so_long() {
    let Some(daemon) = Daemon::start("") else { return };
    let (finish, finished) = mpsc::channel::<()>();
    // It answers the call, and never says that the job is done.
    let systemd = daemon.systemd(move |bus, start| {
        answer(bus, start, JOB);
        let _ = finished.recv();
    });
    let process = Killed::idle();
    let manager = daemon.manager(Path::new("/nowhere"), Duration::from_millis(300));
    let begun = Instant::now();
    let error = manager.enclose("x", process.pid(), &limits(), &ALL).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no answer within 300ms"), "{error}");
    assert!(error.hint().unwrap().contains("systemctl --user status"));
    drop(finish);
    systemd.join().unwrap();
}

#[test]
fn a_bus_without_systemd_and_one_that_forbids_are_errors() {
    let deny = format!("<deny send_destination=\"{NAME}\"/>");
    for (policy, expected) in [("", "org.freedesktop.DBus.Error.ServiceUnknown"), (&deny, "AccessDenied")] {
        let Some(daemon) = Daemon::start(policy) else { return };
        let systemd = (!policy.is_empty()).then(|| daemon.connect()).map(|mut bus| {
            call(
                &mut bus,
                &to_bus("RequestName").with_body("su", |out| {
                    out.string(NAME);
                    out.u32(0);
                }),
            );
            bus
        });
        let process = Killed::idle();
        let manager = daemon.manager(Path::new("/nowhere"), LONG);
        let error = manager.enclose("x", process.pid(), &limits(), &ALL).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        drop(systemd);
    }
}

#[test]
fn a_scope_that_the_process_is_not_in_is_not_believed() {
    let Some(daemon) = Daemon::start("") else { return };
    let systemd = daemon.systemd(|bus, start| {
        answer(bus, start, JOB);
        bus.send([removed(JOB, &unit_of(start), "done", None)]).unwrap();
    });
    let process = Killed::idle();
    let error = daemon
        .manager(Path::new("/sys/fs/cgroup"), LONG)
        .enclose("x", process.pid(), &limits(), &ALL)
        .unwrap_err();
    systemd.join().unwrap();
    assert!(error.to_string().contains("the sandbox is not in it"), "{error}");
}

/// The v2 hierarchy of this machine, where groups can be made in it; otherwise says why not.
pub(in crate::cgroup) fn v2_root() -> Option<PathBuf> {
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let found = roots.into_iter().find(|r| {
        r.join("cgroup.procs").exists() && rustix::fs::access(r, rustix::fs::Access::WRITE_OK).is_ok()
    });
    if found.is_none() {
        println!("skipped: no v2 hierarchy that this user may write in");
    }
    found
}

/// A systemd that really moves the process into a group of `root`, and writes limits as the kernel would, but below
/// `limits`: the hierarchy here has no controllers.
fn mover(root: PathBuf, files: PathBuf, memory_max: &'static str) -> impl FnOnce(&mut Bus, &Message) + Send {
    move |bus, start| {
        let (unit, _, properties) = transient(start).unwrap();
        let [_, _, pid] = properties.iter().find(|p| p[0] == "PIDs").unwrap();
        fs::create_dir(root.join(&unit)).unwrap();
        fs::write(root.join(&unit).join("cgroup.procs"), pid).unwrap();
        fs::create_dir(files.join(&unit)).unwrap();
        let texts = [
            ("memory.max", memory_max),
            ("memory.swap.max", "0\n"),
            ("cpu.max", "75000 50000\n"),
            ("pids.max", "21\n"),
            ("pids.current", "3\n"),
            ("memory.events", "low 0\noom_kill 1\n"),
        ];
        texts.into_iter().for_each(|(file, text)| fs::write(files.join(&unit).join(file), text).unwrap());
        answer(bus, start, JOB);
        bus.send([removed(JOB, &unit, "done", None)]).unwrap();
    }
}

fn request(manager: Manager, id: &str) -> Group {
    let request = Request { manager, id: id.to_owned(), controllers: ALL.to_vec() };
    Group { kind: Version::Scope, dirs: Vec::new(), request: Some(request) }
}

#[test]
fn a_process_is_moved_and_its_limits_and_numbers_are_read_back() {
    let (Some(root), Some(daemon)) = (v2_root(), Daemon::start("")) else { return };
    let files = tempfile::tempdir().unwrap();
    let process = Killed::idle();
    let unit = format!("agentkernel-moved-{}.scope", process.pid().as_raw_nonzero());
    for (memory_max, holds) in [("67108864\n", true), ("max\n", false)] {
        let systemd = daemon.systemd(mover(root.clone(), files.path().to_owned(), memory_max));
        let mut group = request(daemon.manager(files.path(), LONG), "moved");
        assert!(group.is_scope() && !group.is_birthplace());
        let outcome = group.enclose(process.pid(), &limits());
        systemd.join().unwrap();
        // Back, so that the group can go.
        fs::write(root.join("cgroup.procs"), process.pid().as_raw_nonzero().to_string()).unwrap();
        fs::remove_dir(root.join(&unit)).unwrap();
        if holds {
            outcome.unwrap();
            assert_eq!(group.stats().pids, Some(3));
            assert!(group.out_of_memory());
            let dir = files.path().join(&unit);
            let lines = ALL.map(|c| format!("{c} {}\n", dir.display())).concat();
            assert_eq!(group.to_text(), format!("systemd\n{lines}"));
        } else {
            assert!(outcome.unwrap_err().to_string().ends_with("did not set its memory.max"));
        }
        fs::remove_dir_all(files.path().join(&unit)).unwrap();
    }
}

#[test]
fn init_is_in_its_scope_before_its_cgroup_namespace_begins() {
    let (Some(root), Some(daemon)) = (v2_root(), Daemon::start("")) else { return };
    if me() != 0 {
        println!("skipped: only root may look at init's namespaces");
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let systemd = daemon.systemd(mover(root.clone(), files.path().to_owned(), "0\n"));
    let mut group = request(daemon.manager(files.path(), LONG), "init");
    let (init, _lifeline, pid) = crate::cgroup::tests::launched(None, |pid| {
        group.enclose(pid, &limits()).unwrap();
        pid
    });
    systemd.join().unwrap();
    let unit = format!("agentkernel-init-{}.scope", pid.as_raw_nonzero());
    crate::cgroup::tests::assert_rooted_in(pid, &format!("/{unit}"));
    drop(init);
    fs::remove_dir(root.join(&unit)).unwrap();
}

#[test]
fn a_systemd_is_found_by_its_socket_and_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let (root, run, uid) = (dir.path().join("cgroup"), dir.path().join("run"), me());
    let own = root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    let (own, bus, whose) = if uid == 0 {
        (root.clone(), run.join("dbus/system_bus_socket"), Whose::System)
    } else {
        (own, run.join(format!("user/{uid}/bus")), Whose::User(uid))
    };
    let find = || Manager::find(&root, &run, uid);
    assert_eq!(find(), None);
    fs::create_dir_all(bus.parent().unwrap()).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&bus).unwrap();
    assert_eq!(find(), None, "no group of systemd's");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("cgroup.controllers"), "cpuset memory pids\n").unwrap();
    for file in ["memory.max", "cpu.max", "pids.max"] {
        fs::write(own.join(file), "max\n").unwrap();
    }
    let (manager, controllers) = find().unwrap();
    assert_eq!(controllers, ["memory", "pids"]);
    assert_eq!((manager.whose, &manager.bus, &manager.root), (whose, &bus, &root));
    let hierarchy = Hierarchy { kind: Version::V2, ..Hierarchy::default() }.or_manager(&root, &run, uid);
    let source = if uid == 0 { "systemd (system)" } else { "systemd (user)" };
    assert_eq!(hierarchy.describe(), source);
    assert!(hierarchy.has("memory") && !hierarchy.has("cpu"));
    assert!(hierarchy.group("a").is_some_and(|g| g.is_scope()));
    let v1 = Hierarchy::default().or_manager(&root, &run, uid);
    assert_eq!(v1, Hierarchy::default(), "on v1 systemd gives users nothing");
    fs::write(own.join("cgroup.controllers"), "\n").unwrap();
    assert_eq!(find(), None);
}

#[test]
fn an_ordinary_users_systemd_is_theirs_alone() {
    let dir = tempfile::tempdir().unwrap();
    let uid = me() + 4321;
    let own = dir.path().join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    let bus = dir.path().join(format!("user/{uid}/bus"));
    fs::create_dir_all(bus.parent().unwrap()).unwrap();
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
    fs::write(own.join("pids.max"), "max\n").unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(&bus).unwrap();
    assert_eq!(Manager::find(dir.path(), dir.path(), uid), None, "the socket is another user's");
    if me() == 0 {
        std::os::unix::fs::chown(&bus, Some(uid), None).unwrap();
        let (manager, controllers) = Manager::find(dir.path(), dir.path(), uid).unwrap();
        assert_eq!(manager.whose, Whose::User(uid));
        assert_eq!(controllers, ["pids"], "the kernel has no limit files for the others");
    }
}

#[cfg(test)]
#[path = "roads_tests.rs"]
mod roads;
