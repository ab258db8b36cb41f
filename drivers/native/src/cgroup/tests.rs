use super::*;
use agentkernel_model::{
    limits::Limit,
    size::{ByteSize, Cpus},
};

fn limits() -> Limits {
    Limits {
        memory: Some(Limit::Required(ByteSize::from_mib(64))),
        cpus: Some(Limit::Default(Cpus::from_milli(500))),
        pids: Some(Limit::Default(20)),
    }
}

/// An init of a probe's sandbox that is complete, its lifeline, and what `meanwhile` returned for it.
pub(super) fn launched<T>(
    birthplace: Option<BorrowedFd<'_>>,
    meanwhile: impl FnOnce(Pid) -> T,
) -> (crate::launch::Init, OwnedFd, T) {
    use crate::wire::{Fault, Inbox, Reply};
    let host = crate::idmap::IdMap::choose(
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
        "root",
        crate::idmap::Need::Many,
        None,
    );
    let plan = crate::probe::plan(host).unwrap();
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let pair = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        flags,
        None,
    );
    let (listener, _other) = pair.unwrap();
    let inherit = |control| crate::init::Inheritance { control, listener: Some(listener), first: None };
    let mut seen = None;
    let (init, control) = crate::launch::launch(&plan, birthplace, inherit, |pid| {
        seen = Some(meanwhile(pid));
        Ok::<_, Fault>(Entry::default())
    })
    .unwrap();
    let reply = Inbox::default().recv::<Reply>(&control).unwrap();
    assert!(matches!(reply, Some(Reply::Up { .. })), "{reply:?}");
    (init, control, seen.unwrap())
}

/// Whether init is in the v2 group `path`, and takes it for the root: asked from inside its cgroup namespace, in which
/// this process is outside.
pub(super) fn assert_rooted_in(pid: Pid, path: &str) {
    let pid = pid.as_raw_nonzero().to_string();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(text.lines().any(|l| l == format!("0::{path}")), "{text}");
    let inside = std::process::Command::new("nsenter")
        .args(["--target", &pid, "--cgroup", "cat", "/proc/self/cgroup", &format!("/proc/{pid}/cgroup")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&inside.stdout).into_owned();
    let groups: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("0::")).collect();
    assert_eq!(groups, ["/..", "/"], "{text}{}", String::from_utf8_lossy(&inside.stderr));
}

#[test]
fn init_is_born_in_a_v2_group_and_the_group_is_removed() {
    let Some(root) = systemd::tests::v2_root() else { return };
    if rustix::process::geteuid().as_raw() != 0 {
        println!("skipped: only root may look at init's namespaces");
        return;
    }
    let name = format!("{PREFIX}birth-{}", std::process::id());
    // The unified hierarchy of a hybrid machine has no controllers: what is tried here is membership.
    let dirs = vec![("pids".to_owned(), root.join(&name))];
    let group = Group { kind: Version::V2, dirs, request: None };
    assert!(group.is_birthplace());
    let entry = group.create(&Limits { memory: None, cpus: None, pids: None }).unwrap();
    let (init, _lifeline, pid) = launched(entry.birthplace(), |pid| pid);
    assert_rooted_in(pid, &format!("/{name}"));
    // With init still alive: it is killed and waited for.
    group.remove().unwrap();
    assert!(!root.join(&name).exists());
    use rustix::event::{PollFd, PollFlags, poll};
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(init.pidfd(), PollFlags::IN)], Some(&now)), Ok(1), "init has ended");
    drop(init);
    group.remove().expect("a group that is gone is removed");
}

#[test]
fn limits_that_hold_are_told_from_those_that_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let with = |file: &str, text: &str, wanted: &str| {
        fs::write(dir.path().join(file), text).unwrap();
        holds(dir.path(), file, wanted)
    };
    assert!(with("memory.max", "4096\n", "5000"), "rounded to a page");
    assert!(!with("memory.max", "8192\n", "5000") && !with("memory.max", "max\n", "5000"));
    assert!(with("cpu.max", "5000 10000\n", "50000 100000"), "with another period");
    assert!(
        !with("cpu.max", "5000 5000\n", "50000 100000") && !with("cpu.max", "max 100000\n", "50000 100000")
    );
    assert!(!holds(dir.path(), "pids.max", "5"), "no such file");
    assert!(holds(dir.path(), "memory.swap.max", "0"), "a kernel without swap");
    assert!(!with("memory.swap.max", "max\n", "0"));
}

#[test]
fn a_scope_is_remembered_and_its_directory_left_to_systemd() {
    let planned = Group::from_text("systemd\n").unwrap();
    assert!(planned.is_scope() && planned.remove().is_ok());
    let dir = "/sys/fs/cgroup/user.slice/user-7.slice/user@7.service/app.slice/agentkernel-a-1.scope";
    let group = Group::from_text(&format!("systemd\nmemory {dir}\ncpu /sys/fs/cgroup/user.slice\n")).unwrap();
    assert_eq!(group.to_text(), format!("systemd\nmemory {dir}\n"));
    group.remove().expect("it is gone already");
}

#[test]
fn limits_become_each_versions_files() {
    let all = |kind| {
        ["memory", "cpu", "pids"].iter().flat_map(|c| settings(kind, c, &limits())).collect::<Vec<_>>()
    };
    let pairs =
        |list: &[(&'static str, &str)]| list.iter().map(|(a, b)| (*a, (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        all(Version::V1),
        pairs(&[("memory.limit_in_bytes", "67108864"), ("cpu.cfs_quota_us", "50000"), ("pids.max", "21")])
    );
    assert_eq!(
        all(Version::V2),
        pairs(&[
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "21")
        ])
    );
}

#[test]
fn v1_groups_are_made_below_the_callers_own() {
    let root = tempfile::tempdir().unwrap();
    for dir in ["memory/mine", "cpu", "pids"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    let text = "4:memory:/mine\n2:cpu,cpuacct:/gone\n0::/\n";
    let found = Hierarchy::find_in(root.path(), text);
    assert_eq!(
        found.bases,
        [("memory", root.path().join("memory/mine")), ("cpu", root.path().join("cpu"))],
        "pids is in no line, cpu's own path does not exist here"
    );
    assert_eq!(found.accounts, None, "they are where the limits are");
    fs::create_dir_all(root.path().join("cpuacct")).unwrap();
    let apart = Hierarchy::find_in(root.path(), "4:memory:/mine\n2:cpuacct:/\n1:cpu:/\n0::/\n");
    assert_eq!(apart.accounts, Some(root.path().join("cpuacct/")));
    let dirs = |group: Option<Group>| group.unwrap().dirs.into_iter().map(|(c, _)| c).collect::<Vec<_>>();
    assert_eq!(dirs(apart.group("a")), ["memory", "cpu"]);
    assert_eq!(dirs(apart.counted_group("a")), ["memory", "cpu", "cpuacct"]);
}

#[test]
fn only_groups_with_our_mark_are_ever_removed() {
    let text = "v1\nmemory /sys/fs/cgroup/memory/agentkernel-1\ncpu /sys/fs/cgroup/cpu/docker\npids /tmp/agentkernel-1\n";
    let group = Group::from_text(text).unwrap();
    assert_eq!(group.dirs.len(), 1);
    assert_eq!(Group::from_text(&group.to_text()), Some(group));
    assert_eq!(Group::from_text("v9\n"), None);
}

#[test]
fn a_real_group_is_made_limited_and_removed() {
    let hierarchy = Hierarchy::find();
    let Some(group) = hierarchy.counted_group(&format!("test-{}", std::process::id())) else {
        println!("skipped: this user may not make control groups ({})", hierarchy.describe());
        return;
    };
    let entry = group.create(&limits()).unwrap();
    assert!(group.dirs.iter().all(|(_, d)| d.is_dir()));
    assert_eq!(group.stats().pids, Some(0));
    assert_eq!(group.stats().cpu_micros, Some(0));
    assert!(!group.out_of_memory());
    drop(entry);
    group.remove().unwrap();
    assert!(group.dirs.iter().all(|(_, d)| !d.exists()));
}
