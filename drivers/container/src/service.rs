//! Podman without a listening service: one of our own is started, and ends by itself when nobody has used it for a while.

use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
    time::Timespec,
};
use std::{
    fs::{self, DirBuilder},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::DirBuilderExt as _,
        net::{UnixDatagram, UnixStream},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Seconds without a connection after which the service ends.
const IDLE: u32 = 2;
/// Where it says that it listens; no longer a name than the socket's.
const NOTICE: &str = "ready.sock";
/// How long it may take to listen.
const START: Duration = Duration::from_secs(20);
/// Variables that Podman copies into containers.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
];
/// The longest path of a socket (unix(7)).
const MAX_PATH: usize = 107;

/// A service of our own, which goes on while this is there: one that nobody talks to ends, in the middle of a long command
/// too.
#[derive(Debug, Default)]
pub(crate) struct Service {
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    program: PathBuf,
    /// On which a question is open: that counts as use.
    question: UnixStream,
}

impl Service {
    /// The socket of a service of `program`, which is started where none answers. Blocks.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not begin to listen.
    pub(crate) fn ensure(&self, host: &Host, program: &Path) -> Result<PathBuf> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (socket, question) = ensure(host, program)?;
        *held = Some(Held { program: program.to_owned(), question });
        Ok(socket)
    }

    /// Whether what was ensured, if anything was, is there still.
    pub(crate) fn is_well(&self) -> bool {
        // Who has it locked is starting one.
        self.held.try_lock().is_ok_and(|held| held.as_ref().is_none_or(|held| is_open(&held.question)))
    }

    /// Starts again what was ensured, and has ended. Blocks.
    ///
    /// # Errors
    /// As [`Self::ensure`].
    pub(crate) fn revive(&self, host: &Host) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Some(held) if !is_open(&held.question) => {
                (_, held.question) = ensure(host, &held.program)?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn ensure(host: &Host, program: &Path) -> Result<(PathBuf, UnixStream)> {
    let dir = directory(host)?;
    let socket = dir.join("podman.sock");
    if let Ok(question) = ask(&socket) {
        return Ok((socket, question));
    }
    let _alone = lock(&dir)?;
    // Whoever held the lock may have started one.
    if let Ok(question) = ask(&socket) {
        return Ok((socket, question));
    }
    let _ = fs::remove_file(&socket);
    start(program, &dir, &socket, START)?;
    let question = ask(&socket).map_err(|e| {
        Error::new(Kind::Unavailable, "'podman system service' listens and does not answer").with_source(e)
    })?;
    Ok((socket, question))
}

/// Asks the service for what will never happen: it has not answered while the connection is open.
fn ask(socket: &Path) -> io::Result<UnixStream> {
    const NOTHING: &str = "/events?stream=true&filters=%7B%22container%22%3A%5B%22agentkernel-none%22%5D%7D";
    let mut question = UnixStream::connect(socket)?;
    question.set_write_timeout(Some(START))?;
    question.set_read_timeout(Some(START))?;
    question.write_all(format!("GET {NOTHING} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    // The first byte of an answer: one that ends sends none.
    question.read_exact(&mut [0])?;
    Ok(question)
}

/// Whether the other side has not closed it.
fn is_open(question: &UnixStream) -> bool {
    let mut fds = [PollFd::new(question, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(rustix::io::retry_on_intr(|| poll(&mut fds, Some(&now))), Ok(0))
}

/// A private directory whose name is short enough for sockets.
fn directory(host: &Host) -> Result<PathBuf> {
    let near = crate::endpoint::runtime_dir(host).map(|dir| dir.join("agentkernel"));
    let places = near.into_iter().chain([host.data.join("engines")]);
    let dir = places.into_iter().find(|dir| dir.join("podman.sock").as_os_str().len() <= MAX_PATH);
    let dir = dir.ok_or_else(|| {
        Error::new(Kind::Unavailable, "there is no directory for Podman's socket whose name is short enough")
            .with_hint("set XDG_RUNTIME_DIR")
    })?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|e| Error::io(format!("cannot make {}", dir.display()), e))?;
    Ok(dir)
}

fn lock(dir: &Path) -> Result<OwnedFd> {
    let path = dir.join("podman.lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
    let locked = file.and_then(|file| {
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    });
    locked.map_err(|e| Error::io(format!("cannot lock {}", path.display()), e.into()))
}

/// Starts a service and returns when it listens. Its socket is there before that, so it is asked to say so (sd_notify(3)).
fn start(program: &Path, dir: &Path, socket: &Path, patience: Duration) -> Result<()> {
    let failed = |e: io::Error| Error::io(format!("cannot start {}", program.display()), e);
    let notice = dir.join(NOTICE);
    let _none = fs::remove_file(&notice);
    let ready = UnixDatagram::bind(&notice).map_err(failed)?;
    let mut service = Command::new(program);
    service
        .args(["system", "service", &format!("--time={IDLE}")])
        .arg(format!("unix://{}", socket.display()))
        .env("NOTIFY_SOCKET", &notice);
    // It would hand them, and the credentials in them, to every container.
    for name in PROXIES {
        service.env_remove(name);
    }
    // It outlives this command, and is nobody's to interrupt.
    service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let started = service.spawn().and_then(Started::new).map_err(failed);
    let listens = started.and_then(|service| {
        let listens = service.listens(&ready, patience).map_err(failed)?;
        if !listens {
            service.kill();
        }
        service.reap();
        Ok(listens)
    });
    let _gone = fs::remove_file(&notice);
    if listens? {
        return Ok(());
    }
    Err(Error::new(Kind::Unavailable, "'podman system service' does not begin to listen")
        .with_hint("type 'podman system service' to see why"))
}

/// A service that was started. As an ordinary user's it is several processes, all of one group.
struct Started {
    child: Child,
    ended: OwnedFd,
}

impl Started {
    fn new(mut child: Child) -> io::Result<Self> {
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(ended) => Ok(Self { child, ended }),
            Err(e) => {
                child.kill()?;
                child.wait()?;
                Err(e.into())
            }
        }
    }

    /// Whether it says that it listens, before it ends and in time.
    fn listens(&self, ready: &UnixDatagram, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut fds = [PollFd::new(ready, PollFlags::IN), PollFd::new(&self.ended, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)))?;
            if fds[0].revents().is_empty() {
                return Ok(false);
            }
            let mut said = [0; 4096];
            let length = ready.recv(&mut said)?;
            if said[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(true);
            }
        }
    }

    fn kill(&self) {
        // ESRCH: it has ended by itself.
        let _ended = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Its end is waited for beside everything else: it may come long before this process's.
    fn reap(mut self) {
        std::thread::spawn(move || self.child.wait());
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
