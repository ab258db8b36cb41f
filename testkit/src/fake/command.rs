//! Starting a command: where it is, what it gets, and how it is connected.

use super::store::{Home, Plan};
use agentkernel_backend::{ByteSink, ByteSource, Control, Exit};
use agentkernel_model::{
    Error, Kind, Result,
    command::{ExecSpec, Signal, Stdio, TerminalSize},
    mount::Workspace,
    path::GuestPath,
    text::printable,
};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat2},
    process::{Pid, kill_process, kill_process_group},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcgetpgrp, tcsetwinsize},
};
use std::{
    collections::BTreeMap,
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio as Channel},
};

/// Whether a command ends when the process that started it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    DiesWithCaller,
    Independent,
}

/// A command that runs.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) stdin: ByteSink,
    pub(super) stdout: ByteSource,
    pub(super) stderr: ByteSource,
    pub(super) terminal: Option<OwnedFd>,
}

impl Started {
    /// The session that the command leads.
    pub(super) fn session(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }
}

/// Starts `spec` in the sandbox at `home`.
pub(super) fn start(home: &Home, plan: &Plan, spec: &ExecSpec, fate: Fate) -> Result<Started> {
    let user = spec.user.or(plan.spec.user);
    if user.is_some_and(|u| !u.is_root()) {
        return Err(Error::new(Kind::Unsupported, "the fake backend runs commands as the caller only")
            .with_hint("leave out --user"));
    }
    let workdir = directory(home, plan, spec)?;
    let env = environment(plan, spec);
    let program = resolve(spec.argv.program(), env.get("PATH").map_or("", String::as_str), &workdir)?;
    let mut command = Command::new(tool("setpriv")?);
    if fate == Fate::DiesWithCaller {
        command.args(["--pdeathsig", "KILL"]);
    }
    command.arg(tool("setsid")?);
    if matches!(spec.stdio, Stdio::Terminal(_)) {
        command.arg("--ctty");
    }
    command.arg(program).args(&spec.argv.words()[1..]).env_clear().envs(env).current_dir(workdir);
    connect(command, spec.stdio)
}

fn connect(mut command: Command, stdio: Stdio) -> Result<Started> {
    let fail = |e| Error::io("cannot start a command", e);
    let terminal = match stdio {
        Stdio::Terminal(size) => Some(open_terminal(size)?),
        Stdio::NoInput | Stdio::Pipes => None,
    };
    if let Some((_, inner)) = &terminal {
        let end = || inner.try_clone().map(Channel::from);
        command.stdin(end().map_err(fail)?).stdout(end().map_err(fail)?).stderr(end().map_err(fail)?);
    } else {
        let stdin = if stdio == Stdio::Pipes { Channel::piped() } else { Channel::null() };
        command.stdin(stdin).stdout(Channel::piped()).stderr(Channel::piped());
    }
    let mut child = command.spawn().map_err(|e| match e.raw_os_error() {
        // E2BIG
        Some(7) => Error::new(Kind::NotRunnable, "the arguments and the environment are too long together")
            .with_source(e),
        _ => fail(e),
    })?;
    let Some((outer, _)) = terminal else {
        return Ok(Started {
            stdin: child.stdin.take().map_or(ByteSink::Closed, |s| ByteSink::Fd(s.into())),
            stdout: child.stdout.take().map_or(ByteSource::Empty, |s| ByteSource::Fd(s.into())),
            stderr: child.stderr.take().map_or(ByteSource::Empty, |s| ByteSource::Fd(s.into())),
            terminal: None,
            child,
        });
    };
    let end = || outer.try_clone().map_err(fail);
    Ok(Started {
        stdin: ByteSink::Fd(end()?),
        stdout: ByteSource::Fd(end()?),
        stderr: ByteSource::Empty,
        terminal: Some(outer),
        child,
    })
}

fn open_terminal(size: TerminalSize) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let opened = openpt(flags).and_then(|outer| {
        unlockpt(&outer)?;
        tcsetwinsize(&outer, winsize(size))?;
        let inner = ioctl_tiocgptpeer(&outer, flags)?;
        Ok((outer, inner))
    });
    opened.map_err(|e| Error::io("cannot open a terminal", e.into()))
}

const fn winsize(size: TerminalSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn environment(plan: &Plan, spec: &ExecSpec) -> BTreeMap<String, String> {
    let ours = plan.spec.env.iter().chain(&spec.env).map(|v| (v.key().to_owned(), v.value().to_owned()));
    plan.image_env.iter().cloned().chain(ours).collect()
}

/// The host's name of the working directory, which must lie in the sandbox's root.
fn directory(home: &Home, plan: &Plan, spec: &ExecSpec) -> Result<PathBuf> {
    let named = spec.workdir.clone().or_else(|| plan.spec.workdir.clone());
    let relative = match &named {
        Some(path) => path.relative(),
        None if plan.spec.workspace != Workspace::None => "workspace",
        None => "",
    };
    let shown = named.as_ref().map_or_else(|| format!("/{relative}"), GuestPath::to_string);
    let opened = in_root(&home.root(), relative, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    let fd = opened.map_err(|e| {
        Error::new(Kind::NotFound, format!("the working directory '{shown}' does not exist in the sandbox"))
            .with_hint("choose another --workdir, or make it first")
            .with_source(e)
    })?;
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .map_err(|e| Error::io(format!("cannot resolve the working directory '{shown}'"), e))
}

/// Opens `relative` with every component, links included, resolved inside `root`.
pub(super) fn in_root(root: &Path, relative: &str, flags: OFlags, mode: Mode) -> std::io::Result<OwnedFd> {
    let base = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = if relative.is_empty() { "." } else { relative };
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(base, path, flags | OFlags::CLOEXEC, mode, how)?)
}

/// Finds the program as execvpe(3) would, so that what cannot begin is told apart before anything runs.
fn resolve(program: &str, search: &str, workdir: &Path) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![workdir.join(program)]
    } else {
        search.split(':').filter(|d| !d.is_empty()).map(|d| Path::new(d).join(program)).collect()
    };
    let mut unfit = None;
    for path in candidates {
        match fitness(&path) {
            Ok(()) => return Ok(path),
            Err(None) => {}
            Err(Some(why)) => unfit = unfit.or(Some(why)),
        }
    }
    let shown = printable(program);
    Err(match unfit {
        Some(why) => Error::new(Kind::NotRunnable, format!("'{shown}' cannot be executed: {why}"))
            .with_hint("check its mode and its first line"),
        None => Error::new(Kind::CommandNotFound, format!("there is no command '{shown}' in the sandbox"))
            .with_hint("check the spelling, or choose an image that has it"),
    })
}

/// `Err(None)`: there is no such file. `Err(Some(why))`: it is there and cannot be executed.
fn fitness(path: &Path) -> std::result::Result<(), Option<&'static str>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Err(Some("permission denied")),
        Err(_) => return Err(None),
    };
    if metadata.is_dir() {
        return Err(Some("it is a directory"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(Some("it is not executable"));
    }
    let head = fs::File::open(path).and_then(|mut f| {
        let mut head = [0; 4];
        let n = std::io::Read::read(&mut f, &mut head)?;
        Ok((head, n))
    });
    match head {
        // A program that may be executed but not read is left to the kernel.
        Err(_) => Ok(()),
        Ok((head, n)) if &head[..n] == b"\x7fELF" || head[..n].starts_with(b"#!") => Ok(()),
        Ok(_) => Err(Some("its format is unknown")),
    }
}

fn tool(name: &str) -> Result<PathBuf> {
    let found = ["/usr/bin", "/bin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.exists());
    found.ok_or_else(|| {
        Error::new(
            Kind::Unavailable,
            format!("the fake backend needs '{name}', which this machine does not have"),
        )
        .with_hint("apt-get install util-linux")
    })
}

/// How a command ended, in the words of the seam.
pub(super) fn exit_of(status: ExitStatus) -> Exit {
    match status.signal() {
        Some(number) => Exit::Signal { number, out_of_memory: false },
        None => Exit::Code(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255)),
    }
}

/// The handle on a running command.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) session: i32,
    /// The start time of the leader: without it a late signal could hit a stranger.
    pub(super) start_time: u64,
    pub(super) terminal: Option<OwnedFd>,
}

impl Control for Handle {
    fn signal(&self, signal: Signal) -> Result<()> {
        let alive = crate::proc::stat(self.session).is_some_and(|s| s.start_time == self.start_time);
        let (Some(pid), true) = (Pid::from_raw(self.session), alive) else { return Ok(()) };
        let number = number(signal)?;
        let foreground = self.terminal.as_ref().and_then(|t| tcgetpgrp(t).ok()).filter(|group| *group != pid);
        let sent = match foreground {
            Some(group) => kill_process_group(group, number).and_then(|()| kill_process(pid, number)),
            None if self.terminal.is_some() => kill_process_group(pid, number),
            None => kill_process(pid, number),
        };
        told(sent)
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        let alive = crate::proc::stat(self.session).is_some_and(|s| s.start_time == self.start_time);
        let (Some(pid), true) = (Pid::from_raw(self.session), alive) else { return Ok(()) };
        let number = number(signal)?;
        // It has not made itself a group yet.
        let sent = kill_process_group(pid, number).or_else(|_| kill_process(pid, number));
        told(sent)
    }

    fn resize(&self, size: TerminalSize) -> Result<()> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        tcsetwinsize(terminal, winsize(size))
            .map_err(|e| Error::internal("cannot resize the terminal of a fake sandbox").with_source(e))
    }
}

fn number(signal: Signal) -> Result<rustix::process::Signal> {
    rustix::process::Signal::from_named_raw(signal.number())
        .ok_or_else(|| Error::internal(format!("signal {} has no name here", signal.number())))
}

/// That the command is gone is no error.
fn told(sent: rustix::io::Result<()>) -> Result<()> {
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(Error::internal("cannot signal a command of a fake sandbox").with_source(e)),
    }
}
