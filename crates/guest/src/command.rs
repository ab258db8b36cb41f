//! One command of a sandbox: forked by init, confined, executed. What runs here runs between fork and exec.

use crate::{
    fault::Step,
    seccomp,
    sys::{self, Forked, Instruction, StringArray},
    walls::{self, Confinement},
    wire::{Exec, Fault, StartFault},
};
use agentkernel_archive::Ownership;
use agentkernel_model::capset::CapSet;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    process::{Gid, Pid, Resource, Rlimit, Uid},
    thread::{CapabilitySet, CapabilitySets},
};
use std::ffi::CString;

/// What all commands of one sandbox have in common, prepared once.
#[derive(Debug)]
pub struct Walls {
    confinement: Confinement,
    filter: Vec<Instruction>,
}

/// Where a command's three streams go.
#[derive(Debug)]
pub enum Streams {
    Pipes([OwnedFd; 3]),
    /// The end of a terminal that the command holds.
    Terminal(OwnedFd),
}

impl Streams {
    /// Lets another user than root open its streams again by name, such as /dev/stdout. Where the streams belong to
    /// someone who does not exist inside, the host side has given them away already.
    fn give_to(&self, exec: &Exec) {
        let (uid, gid) = (Some(Uid::from_raw(exec.uid)), Some(Gid::from_raw(exec.gid)));
        let ends: &[OwnedFd] = match self {
            Self::Pipes(ends) => ends,
            Self::Terminal(end) => std::slice::from_ref(end),
        };
        for end in ends.iter().filter(|_| exec.uid != 0) {
            let _ = rustix::fs::fchown(end, uid, gid);
        }
    }
}

/// How the process of a command is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spawn {
    /// On init's own memory, with init waiting until the command is executed: fastest, and only right while nobody inside
    /// can stop that process in between, which is before the first command.
    First,
    /// As a copy; init goes on.
    Later,
}

/// A command that runs.
#[derive(Debug)]
pub struct Started {
    pub pid: Pid,
    /// Ends when the command was executed; before that, carries the reason why it was not.
    pub verdict: OwnedFd,
}

impl Walls {
    pub fn new(confinement: &Confinement) -> Self {
        Self {
            filter: seccomp::compile(confinement.seccomp, confinement.host_files),
            confinement: confinement.clone(),
        }
    }

    /// Whom files of archives belong to here.
    pub fn ownership(&self) -> Ownership {
        self.confinement.ownership
    }

    /// Starts `exec`. Init must be single-threaded, which it is.
    pub fn start(&self, exec: &Exec, streams: Streams, spawn: Spawn) -> Result<Started, Fault> {
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (verdict, report) = rustix::pipe::pipe_with(flags).step(|| "make a pipe".to_owned())?;
        streams.give_to(exec);
        // A signal for the command may be sent as soon as its number is known.
        let _held = sys::hold_signals().step(|| "hold signals".to_owned())?;
        if spawn == Spawn::Later {
            // SAFETY: init has one thread.
            return match unsafe { sys::clone_single_threaded(0, None) }.step(|| "fork".to_owned())? {
                Forked::Parent(pid) => Ok(Started { pid, verdict }),
                Forked::Child => self.become_command(exec, &streams, &report),
            };
        }
        // SAFETY: init has one thread; the child changes nothing of init's memory but its own locals and the heap.
        let pid =
            unsafe { sys::vfork(|| self.become_command(exec, &streams, &report)) }.step(|| "fork".to_owned());
        // Whatever the child's change of users did to the memory that both shared.
        walls::hide().step(|| "hide init".to_owned())?;
        Ok(Started { pid: pid?, verdict })
    }

    /// Leaves the reason in `report` when the command could not be executed.
    fn become_command(&self, exec: &Exec, streams: &Streams, report: &OwnedFd) -> ! {
        let fault = match self.confine(exec, streams, report) {
            Ok((argv, env)) => self.execute(&argv, &env),
            Err(fault) => fault,
        };
        if let Ok(json) = serde_json::to_vec(&fault) {
            let _ = rustix::io::write(report, &json);
        }
        sys::exit_now(127)
    }

    fn confine(
        &self,
        exec: &Exec,
        streams: &Streams,
        report: &OwnedFd,
    ) -> Result<(StringArray, StringArray), StartFault> {
        #[cfg(feature = "mutations")]
        let exec = &with_callers_environment(exec);
        let other = |fault| StartFault::Other(fault);
        let argv = strings(&exec.argv).step(|| "read the command line".to_owned()).map_err(other)?;
        let env = strings(&exec.env).step(|| "read the environment".to_owned()).map_err(other)?;
        connect(streams).step(|| "connect the streams".to_owned()).map_err(other)?;
        if crate::mutation::off("close-descriptors") {
            keep_descriptors_open();
        } else {
            sys::close_all_except(&[report.as_fd()]);
        }
        sys::reset_signals();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        self.limit().step(|| "set resource limits".to_owned()).map_err(other)?;
        self.become_user(exec).step(|| format!("become user {}:{}", exec.uid, exec.gid)).map_err(other)?;
        rustix::process::chdir(exec.workdir.as_str()).map_err(|e| StartFault::Workdir(e.raw_os_error()))?;
        if crate::mutation::off("no-new-privs") {
            // Neither of the walls below can be put up by a process that could still gain privileges.
            return Ok((argv, env));
        }
        rustix::thread::set_no_new_privs(true).step(|| "give up new privileges".to_owned()).map_err(other)?;
        if !crate::mutation::off("seccomp") {
            sys::install_filter(&self.filter)
                .step(|| "install the system call filter".to_owned())
                .map_err(other)?;
        }
        Ok((argv, env))
    }

    /// No core dumps: a host's core_pattern may name a program that the host's root would run on them, whatever the limit
    /// is, except at exactly 1 (core(5)). The filter keeps it there. Processes count
    /// against a limit of this user namespace, which holds where no cgroup can.
    fn limit(&self) -> Result<(), Errno> {
        if !crate::mutation::off("core-limit") {
            let wanted = Rlimit { current: Some(1), maximum: Some(1) };
            // Where an engine has set it, its filter lets nobody set it again.
            if rustix::process::getrlimit(Resource::Core) != wanted {
                rustix::process::setrlimit(Resource::Core, wanted)?;
            }
        }
        if let Some(pids) = self.confinement.pids.filter(|_| !crate::mutation::off("process-limit")) {
            let most = rustix::process::getrlimit(Resource::Nproc).maximum;
            let pids = u64::from(pids);
            let pids = most.map_or(pids, |most| most.min(pids));
            rustix::process::setrlimit(Resource::Nproc, Rlimit { current: Some(pids), maximum: Some(pids) })?;
        }
        if let Some(files) = self.confinement.open_files {
            let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
            let files = Some(maximum.map_or(files, |most| most.min(files)));
            if current != files {
                rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files, maximum })?;
            }
        }
        Ok(())
    }

    fn become_user(&self, exec: &Exec) -> Result<(), Errno> {
        let caps = self.confinement.caps;
        let all = crate::mutation::off("capability-bounds") || crate::mutation::off("user-namespace");
        if !all {
            drop_bounds(caps)?;
        }
        let (uid, gid) = (Uid::from_raw(exec.uid), Gid::from_raw(exec.gid));
        if self.confinement.has_groups {
            rustix::thread::set_thread_groups(&[gid])?;
        }
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        let keep =
            if exec.uid == 0 { CapabilitySet::from_bits_retain(caps.bits()) } else { CapabilitySet::empty() };
        let keep = if all && exec.uid == 0 { rustix::thread::capabilities(None)?.permitted } else { keep };
        match rustix::thread::clear_ambient_capability_set() {
            // gVisor has no such set.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets)
    }

    /// Looks the program up in PATH as a shell does and executes it.
    fn execute(&self, argv: &StringArray, env: &StringArray) -> StartFault {
        let Some(program) = argv.strings().first() else { return StartFault::NotFound };
        let mut seen = Errno::NOENT;
        for path in candidates(program, env) {
            match sys::execve(&path, argv, env) {
                Errno::NOENT | Errno::NOTDIR => {}
                errno => {
                    seen = errno;
                    if errno != Errno::ACCESS {
                        break;
                    }
                }
            }
        }
        if seen == Errno::NOENT { StartFault::NotFound } else { StartFault::NotRunnable(seen.raw_os_error()) }
    }
}

fn candidates(program: &CString, env: &StringArray) -> Vec<CString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.clone()];
    }
    let path = env.strings().iter().find_map(|e| e.as_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
    let join = |dir: &[u8]| CString::new([dir, b"/", program.as_bytes()].concat()).ok();
    path.split(|b| *b == b':').filter(|dir| dir.starts_with(b"/")).filter_map(join).collect()
}

/// With the mutation `clean-environment`, init's variables as well, which are the caller's.
#[cfg(feature = "mutations")]
fn with_callers_environment(exec: &Exec) -> Exec {
    let mut exec = exec.clone();
    if crate::mutation::off("clean-environment") {
        exec.env.extend(std::env::vars().map(|(key, value)| format!("{key}={value}")));
    }
    exec
}

fn strings(words: &[String]) -> Result<StringArray, Errno> {
    let words: Result<Vec<CString>, _> = words.iter().map(|w| CString::new(w.as_bytes())).collect();
    Ok(StringArray::new(words.map_err(|_| Errno::INVAL)?))
}

/// A session of its own; the three streams at 0, 1 and 2; with a terminal, that as the controlling one.
fn connect(streams: &Streams) -> Result<(), Errno> {
    if !crate::mutation::off("own-session") {
        sys::new_session()?;
    }
    let ends: [BorrowedFd<'_>; 3] = match streams {
        Streams::Pipes([stdin, stdout, stderr]) => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        Streams::Terminal(tty) => {
            rustix::process::ioctl_tiocsctty(tty)?;
            [tty.as_fd(); 3]
        }
    };
    rustix::stdio::dup2_stdin(ends[0])?;
    rustix::stdio::dup2_stdout(ends[1])?;
    rustix::stdio::dup2_stderr(ends[2])
}

fn drop_bounds(keep: CapSet) -> Result<(), Errno> {
    for number in 0..=63_u8 {
        if keep.contains(number) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            1 << number,
        )) {
            Ok(()) => {}
            // Past the last capability that this kernel knows.
            Err(Errno::INVAL) if number > 31 => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What the mutation `close-descriptors` does in place of closing: every descriptor of init survives into the command.
fn keep_descriptors_open() {
    for number in 3..256 {
        // SAFETY: the descriptors are only borrowed for the two calls; one that is not open answers EBADF.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
}
