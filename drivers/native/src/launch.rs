//! The host side of a start: forks init into new namespaces, says who is who inside, and hands the host's files over.

use crate::{
    cgroup::Entry,
    idmap::IdMap,
    init::{self, Inheritance, Parent},
    mounts::Step,
    plan::Plan,
    sources::Sources,
    sys::{self, Forked},
    wire::{Fault, Inbox, MAX_FDS, Reply, Request, send},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};

/// Init makes the others itself: they take the kernel longest, and meanwhile this side makes the control group and opens
/// the host's files.
fn namespaces() -> libc::c_int {
    let pids = if crate::mutation::off("pid-namespace") { 0 } else { libc::CLONE_NEWPID };
    let users = if crate::mutation::off("user-namespace") { 0 } else { libc::CLONE_NEWUSER };
    users | pids
}

/// A forked init. Dropping it ends the sandbox and waits until that is true.
#[derive(Debug)]
pub(crate) struct Init {
    pidfd: OwnedFd,
    reaped: bool,
}

/// Forks init, in the v2 group `birthplace` where there is one. `inherit` is given init's end of the control socket,
/// whose other end is returned. `meanwhile` does what can be done while init, whose process id it is given, begins, and
/// says which v1 groups init is to join.
pub(crate) fn launch<E: From<Fault>>(
    plan: &Plan,
    birthplace: Option<BorrowedFd<'_>>,
    inherit: impl FnOnce(OwnedFd) -> Inheritance,
    meanwhile: impl FnOnce(Pid) -> Result<Entry, E>,
) -> Result<(Init, OwnedFd), E> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.step(|| "make the control socket".to_owned())?;
    let inheritance = inherit(theirs);
    let pid = if sys::is_single_threaded() {
        fork_directly(plan, inheritance, birthplace)
    } else {
        fork_by_helper(plan, inheritance, birthplace)
    };
    let pid = pid.step(|| "make the sandbox's namespaces".to_owned())?;
    let pidfd =
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).step(|| "watch the sandbox".to_owned())?;
    // From here on a failure drops `init`, which ends the process.
    let init = Init { pidfd, reaped: false };
    plan.map.write(pid).map_err(|e| {
        let what = "map the sandbox's users".to_owned();
        reason(&ours, Fault { what, errno: e.raw_os_error().unwrap_or(libc::EPERM) })
    })?;
    let entry = meanwhile(pid)?;
    introduce(plan, pid, ours.as_fd(), &entry).map_err(|fault| reason(&ours, fault))?;
    Ok((init, ours))
}

/// What init says of its end, where this side only sees that it is gone.
fn reason(control: &OwnedFd, seen: Fault) -> Fault {
    let gone = matches!(seen.errno, libc::EPIPE | libc::ECONNRESET | libc::ESRCH | libc::ENOENT);
    match gone.then(|| Inbox::default().recv::<Reply>(control)) {
        Some(Ok(Some(Reply::Failed(said)))) => said,
        _ => seen,
    }
}

fn fork_directly(
    plan: &Plan,
    inheritance: Inheritance,
    birthplace: Option<BorrowedFd<'_>>,
) -> Result<Pid, Errno> {
    // SAFETY: this process has one thread.
    match unsafe { sys::clone_single_threaded(namespaces(), birthplace) }? {
        Forked::Parent(pid) => Ok(pid),
        Forked::Child => init::run(plan, inheritance, Parent::Keeper),
    }
}

/// From a process with many threads: fork(2) by the C library gives a child with one thread and a sound heap, and that
/// child clones init as its own sibling.
fn fork_by_helper(
    plan: &Plan,
    inheritance: Inheritance,
    birthplace: Option<BorrowedFd<'_>>,
) -> Result<Pid, Errno> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // SAFETY: the child uses the allocator and system calls; no lock of another thread is touched.
    match unsafe { sys::fork() }? {
        Forked::Parent(helper) => {
            drop((write, inheritance));
            let mut answer = [0_u8; 4];
            let read = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut answer[..]));
            rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::Pid(helper), WaitIdOptions::EXITED)
            })?;
            match (read?, i32::from_ne_bytes(answer)) {
                (4, pid) if pid > 0 => Pid::from_raw(pid).ok_or(Errno::CHILD),
                (4, errno) => Err(Errno::from_raw_os_error(errno.saturating_neg())),
                _ => Err(Errno::CHILD),
            }
        }
        Forked::Child => {
            let flags = namespaces() | libc::CLONE_PARENT;
            // SAFETY: this process has one thread, the one that fork(2) left it.
            let answer = match unsafe { sys::clone_single_threaded(flags, birthplace) } {
                Ok(Forked::Child) => init::run(plan, inheritance, Parent::Other),
                Ok(Forked::Parent(pid)) => pid.as_raw_nonzero().get(),
                Err(errno) => errno.raw_os_error().saturating_neg(),
            };
            let _ = rustix::io::write(&write, &answer.to_ne_bytes());
            sys::exit_now(0)
        }
    }
}

/// Tells init that its maps are written, and hands over what it needs: first the entries to its control groups, then as
/// root the trees that only the host side may translate.
fn introduce(plan: &Plan, pid: Pid, control: BorrowedFd<'_>, entry: &Entry) -> Result<(), Fault> {
    let mut fds: Vec<BorrowedFd<'_>> = entry.tasks().collect();
    let begin = Request::Begin { groups: fds.len() };
    let say = |fds: &[BorrowedFd<'_>]| send(control, &begin, fds).step(|| "greet the sandbox".to_owned());
    if !matches!(plan.map, IdMap::Shifted { .. }) {
        return say(&fds);
    }
    let path = format!("/proc/{}/ns/user", pid.as_raw_nonzero());
    let userns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let userns = userns.step(|| "open the sandbox's user namespace".to_owned())?;
    let sources = Sources::open(plan, Some(userns.as_fd()))?;
    fds.extend(sources.trees.iter().map(AsFd::as_fd));
    if fds.len() > MAX_FDS {
        return Err(Fault::new(
            format!("show {} host directories (at most {MAX_FDS})", fds.len()),
            Errno::TOOBIG,
        ));
    }
    say(&fds)
}

impl Init {
    /// Readable when init has ended.
    pub(crate) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Collects an init that has ended.
    pub(crate) fn reap(&mut self) {
        let options = WaitIdOptions::EXITED;
        // An error means that there is nothing to collect.
        let _ =
            rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options));
        self.reaped = true;
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
            self.reap();
        }
    }
}
