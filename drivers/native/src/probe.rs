//! Whether this machine really lets this user make a sandbox: makes one, mounts in it, and takes it down again.

use crate::{
    cgroup::{Entry, Group, Hierarchy},
    defaults::Defaults,
    idmap::{IdMap, Need, helpers_exist},
    init::Inheritance,
    launch::launch,
    network::Udp,
    plan::{Base, LayerStore, Net, Origin, Piece, PieceKind, Plan, Show},
    walls::{Confinement, HostFiles},
    wire::{Fault, Inbox, Reply},
};
use agentkernel_archive::Ownership;
use agentkernel_backend::{Health, Host, ImageDefaults, Owners, Rootfs};
use agentkernel_model::{
    Error,
    capset::CapSet,
    command::User,
    limits::{Limit, Limits},
    policy::RootAccess,
    seccomp::SeccompLevel,
    size::{ByteSize, Cpus},
    spec::Lifetime,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::Pid,
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// With a network, an overlay and every kernel file system: whatever a real sandbox has, short of a command.
pub(crate) fn probe(host: &Host, hierarchy: &Hierarchy) -> Health {
    let map = IdMap::choose(host.uid, host.gid, &host.login, Need::Many, None);
    match plan(map.clone()).map_err(Trouble::from).and_then(|plan| try_out(&plan, hierarchy)) {
        Ok(()) => Health::Healthy { attributes: attributes(&map, hierarchy) },
        Err(Trouble::Kernel(fault)) => unhealthy(&fault),
        Err(Trouble::Group(error)) => Health::Unhealthy {
            reason: error.to_string(),
            hint: error.hint().unwrap_or("see the log of systemd").to_owned(),
        },
    }
}

/// What stands in the way of a sandbox.
enum Trouble {
    Kernel(Fault),
    /// systemd, which was to make its control group.
    Group(Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Kernel(fault)
    }
}

pub(crate) fn plan(map: IdMap) -> Result<Plan, Fault> {
    let bug = |_| Fault::new("plan a sandbox", Errno::INVAL);
    let usr = Piece {
        source: PathBuf::from("/usr"),
        target: "/usr".parse().map_err(bug)?,
        show: Show::Overlay(LayerStore::Memory),
        kind: PieceKind::Directory,
        origin: Origin::Image,
    };
    let image = Rootfs {
        identity: "probe".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    };
    Ok(Plan {
        base: Base::Memory,
        lifetime: Lifetime::Ephemeral,
        root: RootAccess::ReadOnly,
        image: Arc::new(image),
        pieces: vec![usr],
        writable: Vec::new(),
        needs_landlock: map.is_users(),
        memory_bytes: 1 << 20,
        own_files: false,
        network: Net::Gateway(Udp::Rejected),
        limits: Limits { memory: None, cpus: None, pids: None },
        confinement: Confinement {
            caps: CapSet::NONE,
            seccomp: SeccompLevel::Restrictive,
            pids: None,
            open_files: None,
            has_groups: map.has_groups(),
            ownership: Ownership::Caller,
            host_files: HostFiles::ReadOnly,
        },
        defaults: Defaults {
            env: Vec::new(),
            workdir: "/".parse().map_err(bug)?,
            user: User::ROOT,
            home_of: None,
        },
        map,
    })
}

fn try_out(plan: &Plan, hierarchy: &Hierarchy) -> Result<(), Trouble> {
    let fault = |errno| Fault::new("make a socket", errno);
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (listener, _other) = pair.map_err(fault)?;
    let inherit = |control| Inheritance { control, listener: Some(listener), first: None };
    let (_init, control) = launch(plan, None, inherit, |pid| {
        try_scope(pid, hierarchy).map_err(Trouble::Group)?;
        Ok::<_, Trouble>(Entry::default())
    })?;
    match Inbox::default().recv::<Reply>(&control).map_err(fault)? {
        Some(Reply::Up { .. }) => Ok(()),
        Some(Reply::Failed(fault)) => Err(fault.into()),
        _ => Err(Fault::new("start a process inside", Errno::CHILD).into()),
    }
}

/// Where systemd makes the groups only asking shows whether it does: files that are there do not answer. Other groups are
/// known to be possible when they are found.
fn try_scope(pid: Pid, hierarchy: &Hierarchy) -> Result<(), Error> {
    let Some(mut group) = hierarchy.group("probe").filter(Group::is_scope) else { return Ok(()) };
    let limits = Limits {
        memory: Some(Limit::Default(ByteSize::from_mib(256))),
        cpus: Some(Limit::Default(Cpus::from_whole(1))),
        pids: Some(Limit::Default(64)),
    };
    group.enclose(pid, &limits)
}

fn attributes(map: &IdMap, hierarchy: &Hierarchy) -> BTreeMap<String, String> {
    let users = match map {
        IdMap::Shifted { base } => format!("65536 from {base}"),
        IdMap::Subordinate { count, .. } => format!("root and {count} subordinate ids"),
        IdMap::Single { .. } if helpers_exist() => {
            "root only: no line in /etc/subuid and /etc/subgid".to_owned()
        }
        IdMap::Single { .. } => "root only: the package uidmap is not installed".to_owned(),
    };
    let limits: Vec<&str> = ["memory", "cpu", "pids"].into_iter().filter(|c| hierarchy.has(c)).collect();
    let limits = if limits.is_empty() { "pids, by RLIMIT_NPROC".to_owned() } else { limits.join(", ") };
    BTreeMap::from([
        ("users inside".to_owned(), users),
        ("control groups".to_owned(), hierarchy.describe().to_owned()),
        ("enforced limits".to_owned(), limits),
    ])
}

fn unhealthy(fault: &Fault) -> Health {
    let reason = format!("cannot {}: {}", fault.what, fault.io_error());
    let sysctl = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    let hint = if sysctl("user/max_user_namespaces").trim() == "0" {
        "allow user namespaces: sysctl -w user.max_user_namespaces=15000"
    } else if sysctl("kernel/unprivileged_userns_clone").trim() == "0" {
        "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1"
    } else if sysctl("kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        "AppArmor lets user namespaces be made and then forbids mounts in them: \
         sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give agentkernel a profile that allows userns"
    } else if fault.errno == libc::ENOSYS {
        "Linux 5.12 or newer is needed"
    } else {
        "run where user namespaces and mounts are allowed; in a container that is --privileged"
    };
    Health::Unhealthy { reason, hint: hint.to_owned() }
}
