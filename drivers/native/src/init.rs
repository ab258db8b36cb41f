//! Process 1 of a sandbox: builds it, starts commands, reaps orphans, and ends with its keeper.
//!
//! It is a fork of the host side and holds the host side's memory but for its environment, so it is not dumpable: no guest can trace it or look
//! at it in /proc. It reads from the host only. When the control socket closes, the keeper is gone, and init ends; the
//! kernel then ends every other process of the pid namespace.

use crate::{
    cgroup,
    command::Walls,
    files,
    landlock::{self, Wall},
    mounts::Step,
    network,
    plan::{Net, Plan},
    root,
    service::Service,
    sources::Sources,
    sys, walls,
    wire::{Exec, Fault, Inbox, Reply, Request, send},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    mount::MountPropagationFlags,
    process::{Gid, Uid},
};

/// What the host side leaves to init at the fork.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// The conversation with the keeper, and init's lifeline.
    pub(crate) control: OwnedFd,
    /// Where other processes of the host ask for commands; `None` for an ephemeral sandbox.
    pub(crate) listener: Option<OwnedFd>,
    /// The one command of an ephemeral sandbox and its streams (none with a terminal).
    pub(crate) first: Option<(Exec, Option<[OwnedFd; 3]>)>,
}

/// Whose child init is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The one thread of its keeper: init can be made to die with it, whatever init is doing at that moment.
    Keeper,
    /// A thread that may end before its process does: the control socket alone is the lifeline.
    Other,
}

/// Never returns.
pub(crate) fn run(plan: &Plan, inheritance: Inheritance, parent: Parent) -> ! {
    // Keys are in it, as those of a collector of traces. Where defences are taken away, it says which.
    if !cfg!(feature = "mutations") {
        sys::forget_environment();
    }
    let walls = match set_up(plan, &inheritance, parent) {
        Ok(walls) => walls,
        Err(fault) => {
            let _ = send(inheritance.control.as_fd(), &Reply::Failed(fault), &[]);
            sys::exit_now(1)
        }
    };
    let Inheritance { control, listener, first, .. } = inheritance;
    let ended = Service::new(control, listener, walls).and_then(|service| service.run(first));
    sys::exit_now(i32::from(ended.is_err()))
}

fn set_up(plan: &Plan, inheritance: &Inheritance, parent: Parent) -> Result<Walls, Fault> {
    quiet(inheritance).step(|| "let go of the caller's descriptors".to_owned())?;
    let net = if crate::mutation::off("network-namespace") { 0 } else { libc::CLONE_NEWNET };
    let ipc = if crate::mutation::off("ipc-namespace") { 0 } else { libc::CLONE_NEWIPC };
    let own = libc::CLONE_NEWNS | net | ipc | libc::CLONE_NEWUTS;
    sys::unshare(own).step(|| "make the mount, network, ipc and uts namespaces".to_owned())?;
    if crate::mutation::off("user-namespace") {
        // Or what is mounted here would be mounted on the host as well.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).step(|| "keep mounts inside".to_owned())?;
    }
    // Whatever needs no users is done while the host side maps them and opens its files.
    let walls = Walls::new(&plan.confinement);
    let materials = root::Materials::open()?;
    let mut sources = if plan.map.is_users() { Sources::open(plan, None)? } else { Sources::default() };
    let mut inbox = Inbox::default();
    let groups = match inbox.recv(&inheritance.control).step(|| "wait for the host side".to_owned())? {
        Some(Request::Begin { groups }) => groups,
        _ => return Err(Fault::new("wait for the host side", Errno::PIPE)),
    };
    for tasks in (0..groups).map_while(|_| inbox.take_fd()) {
        cgroup::join(&tasks).step(|| "join the control group".to_owned())?;
    }
    // A cgroup namespace begins where its maker is.
    if !crate::mutation::off("cgroup-namespace") {
        sys::unshare(libc::CLONE_NEWCGROUP).step(|| "make a cgroup namespace".to_owned())?;
    }
    become_root(plan).step(|| "become root inside".to_owned())?;
    if parent == Parent::Keeper && !crate::mutation::off("lifeline") {
        // After the change of ids, which would clear it.
        let set = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        set.step(|| "tie the sandbox to its keeper".to_owned())?;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    rustix::system::sethostname(b"agentkernel").step(|| "set the host name".to_owned())?;
    while let Some(tree) = inbox.take_fd() {
        sources.trees.push_back(tree);
    }
    root::build(plan, &mut sources, materials)?;
    if !crate::mutation::off("landlock") {
        enclose(plan)?;
    }
    drop(sources);
    let control = inheritance.control.as_fd();
    match plan.network {
        Net::Off => network::loopback()?,
        Net::Gateway(udp) => {
            let listeners = network::captured(udp)?;
            let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
            send(control, &Reply::Up { network: true }, &fds).step(|| "report".to_owned())?;
            return Ok(walls);
        }
    }
    if inheritance.listener.is_some() {
        send(control, &Reply::Up { network: false }, &[]).step(|| "report".to_owned())?;
    }
    Ok(walls)
}

/// Closes all but what is needed, and puts /dev/null where the caller's terminal was.
fn quiet(inheritance: &Inheritance) -> Result<(), Errno> {
    let mut keep: Vec<BorrowedFd<'_>> = vec![inheritance.control.as_fd()];
    keep.extend(inheritance.listener.iter().map(AsFd::as_fd));
    if let Some((_, Some(streams))) = &inheritance.first {
        keep.extend(streams.iter().map(AsFd::as_fd));
    }
    if !crate::mutation::off("init-descriptors") {
        sys::close_all_except(&keep);
    }
    let null = files::open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    if crate::mutation::off("own-session") {
        return Ok(());
    }
    rustix::process::setsid()
        .map(drop)
        .or_else(|errno| if errno == Errno::PERM { Ok(()) } else { Err(errno) })
}

/// Puts init and with it every command behind one Landlock domain: within it they see and signal each other as
/// processes of one machine do, which commands with a domain each could not.
fn enclose(plan: &Plan) -> Result<(), Fault> {
    match landlock::enforce(&plan.writable) {
        Some(Wall::Standing) => Ok(()),
        Some(Wall::Absent) if !plan.needs_landlock => Ok(()),
        _ => Err(Fault::new("set up Landlock, without which no user's sandbox is safe", Errno::NOSYS)),
    }
}

fn become_root(plan: &Plan) -> Result<(), Errno> {
    if plan.confinement.has_groups {
        rustix::thread::set_thread_groups(&[])?;
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    // Only now: the maps in /proc can be written by a user while the process is dumpable. And again only now: at a change
    // of ids a sysctl decides whether it is.
    walls::hide()
}
