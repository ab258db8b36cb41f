//! Podman without a listening service: one of our own is started, and ends by itself when nobody has used it for a while.

use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::{FlockOperation, Mode, OFlags, inotify},
    process::{Pid, PidfdFlags, pidfd_open},
    time::Timespec,
};
use std::{
    fs::{self, DirBuilder},
    os::unix::{fs::DirBuilderExt as _, net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Seconds without a connection after which the service ends.
const IDLE: u32 = 2;
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

/// The socket of a service of `program`, which is started where none answers.
///
/// # Errors
/// [`Kind::Unavailable`] when it does not begin to listen.
pub(crate) fn ensure(host: &Host, program: &Path) -> Result<PathBuf> {
    let dir = directory(host)?;
    let socket = dir.join("podman.sock");
    if UnixStream::connect(&socket).is_ok() {
        return Ok(socket);
    }
    let _alone = lock(&dir)?;
    // Whoever held the lock may have started one.
    if UnixStream::connect(&socket).is_ok() {
        return Ok(socket);
    }
    let _ = fs::remove_file(&socket);
    start(program, &dir, &socket)?;
    Ok(socket)
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

fn start(program: &Path, dir: &Path, socket: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(format!("cannot start {}", program.display()), e);
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .and_then(|watch| {
            inotify::add_watch(&watch, dir, inotify::WatchFlags::CREATE)?;
            Ok(watch)
        })
        .map_err(|e| failed(e.into()))?;
    let mut service = Command::new(program);
    service
        .args(["system", "service", &format!("--time={IDLE}")])
        .arg(format!("unix://{}", socket.display()));
    // It would hand them, and the credentials in them, to every container.
    for name in PROXIES {
        service.env_remove(name);
    }
    // It outlives this command, and is nobody's to interrupt.
    service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = service.spawn().map_err(failed)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let ended = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let deadline = Instant::now() + START;
    loop {
        if UnixStream::connect(socket).is_ok() {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !wait(&watch, ended.as_ref(), left) {
            return Err(Error::new(Kind::Unavailable, "'podman system service' does not begin to listen")
                .with_hint("type 'podman system service' to see why"));
        }
    }
}

/// Until something appears in the directory; `false` when the service has ended or it takes too long.
fn wait(watch: &OwnedFd, ended: Option<&OwnedFd>, left: Duration) -> bool {
    let mut fds = vec![PollFd::new(watch, PollFlags::IN)];
    fds.extend(ended.map(|fd| PollFd::new(fd, PollFlags::IN)));
    let left = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)));
    let over = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    let mut events = [0_u8; 4096];
    let _ = rustix::io::read(watch, &mut events);
    matches!(ready, Ok(count) if count > 0) && !over
}
