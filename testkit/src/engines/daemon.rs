//! A daemon: started, heard when it is ready, ended. It says that it is ready as to systemd (sd_notify(3)).

use crate::proc;
use agentkernel_model::{Error, Kind, Result, text::printable};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::{net::UnixDatagram, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take until it is ready, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long its orderly end may take.
const GRACE: Duration = Duration::from_secs(20);
/// How much of the end of its log is looked at.
const TAIL: u64 = 4096;

#[derive(Debug)]
pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    /// The process that was started, and the one that does the work: rootless Podman puts one into a namespace.
    process: OwnedFd,
    main: Option<OwnedFd>,
    log: PathBuf,
    reaped: bool,
}

impl Daemon {
    /// Starts `program` with its log and its sockets in `place` and returns when it is ready. It gets SIGTERM when the
    /// thread that called this ends.
    pub(super) fn start(
        name: &'static str,
        program: &Path,
        place: &Path,
        set_up: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let (log, notify) = (place.join(format!("{name}.log")), place.join(format!("{name}.ready")));
        let io = |what: &str| {
            let what = format!("cannot {what} of {name}");
            move |e| Error::io(what, e)
        };
        // Of the one before, when this is a second one in its place.
        let _none = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).map_err(io("make the socket"))?;
        let out = File::options().create(true).append(true).open(&log).map_err(io("make the log"))?;
        let err = out.try_clone().map_err(io("make the log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program).env_clear();
        set_up(&mut command);
        // A group of its own: an interrupt from the terminal is for the test, which then ends its engine in order.
        command.env("NOTIFY_SOCKET", &notify).current_dir(place).process_group(0);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(|e| Error::io("cannot start setpriv", e))?;
        let process = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(process) => process,
            Err(e) => {
                let killed = child.kill().and_then(|()| child.wait());
                let error = Error::io(format!("cannot watch {name}"), e.into());
                return Err(killed.err().map_or(error, |e| Error::io(format!("cannot end {name}"), e)));
            }
        };
        let mut daemon = Self { name, child, process, main: None, log, reaped: false };
        // Dropping it on the way out ends the process.
        daemon.wait_until_ready(&ready)?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self, ready: &UnixDatagram) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(ready, PollFlags::IN), PollFd::new(&self.process, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return Err(self.failed("is not ready after a minute")),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Error::io(format!("cannot wait for {}", self.name), e.into())),
            }
            if fds[0].revents().is_empty() {
                return Err(self.failed("ended before it was ready"));
            }
            let mut message = [0; 4096];
            let length =
                ready.recv(&mut message).map_err(|e| Error::io(format!("cannot hear {}", self.name), e))?;
            let said = String::from_utf8_lossy(&message[..length]);
            if let Some(pid) = said.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok()) {
                self.main = proc::handle(pid);
            }
            if said.lines().any(|line| line == "READY=1") {
                return Ok(());
            }
        }
    }

    fn failed(&self, what: &str) -> Error {
        let tail = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.take(TAIL).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).lines().last().unwrap_or("nothing").to_owned())
        };
        let last = tail().unwrap_or_else(|e| e.to_string());
        Error::new(Kind::Unavailable, format!("{} {what}; it said: {}", self.name, printable(&last)))
    }

    /// Sends it a signal; one that has ended is left alone.
    pub(super) fn signal(&self, signal: Signal) {
        let process = self.main.as_ref().unwrap_or(&self.process);
        // ESRCH: it has ended by itself.
        let _ended = pidfd_send_signal(process, signal);
    }

    /// Ends it in order, or after a while at once.
    pub(super) fn end(&mut self) -> Result<()> {
        let io = |e| Error::io(format!("cannot end {}", self.name), e);
        let deadline = Instant::now() + GRACE;
        for process in [self.main.as_ref(), Some(&self.process)].into_iter().flatten() {
            // ESRCH, here and below: it has ended by itself.
            let _ended = pidfd_send_signal(process, Signal::TERM);
            if !proc::wait_until(process, deadline).map_err(io)? {
                let _ended = pidfd_send_signal(process, Signal::KILL);
            }
        }
        self.child.wait().map_err(io)?;
        self.reaped = true;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.reaped {
            // Nobody asks any more how it went.
            let _tried = self.end();
        }
    }
}

#[cfg(test)]
#[path = "daemon_tests.rs"]
mod tests;
