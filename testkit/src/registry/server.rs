//! The process of docker-registry: started, heard, ended.

use agentkernel_model::{Error, Kind, Result, text::printable};
use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};

const PROGRAM: &str = "docker-registry";
/// What it writes when it has a port; its log is the only place where a port that the kernel chose is said.
const LISTENING: &str = "listening on ";
/// How long it may take to say so, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of its log that are kept, and bytes of one.
const LINES: usize = 1000;
const LINE: u64 = 8192;

type Log = Arc<Mutex<VecDeque<String>>>;

#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    process: OwnedFd,
    log: Log,
    watcher: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server with `config` and returns when it takes connections.
    pub(super) fn start(config: &Path) -> Result<Self> {
        let log = Log::default();
        let (started, starting) = mpsc::channel();
        let (said, hearing) = mpsc::channel();
        let (watched, config) = (Arc::clone(&log), config.to_owned());
        // The kernel ends the server when the thread that started it ends: so that thread is not one of a test's.
        let watcher = std::thread::spawn(move || {
            let child = spawn(&config);
            let (child, report) = match child {
                Ok((child, process)) => (Some(child), Ok(process)),
                Err(error) => (None, Err(error)),
            };
            if started.send(report).is_ok()
                && let Some(child) = child
            {
                watch(child, &watched, &said);
            }
        });
        let process = match starting.recv() {
            Ok(Ok(process)) => process,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Error::internal("the thread of the registry ended")),
        };
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { address: unknown, process, log, watcher: Some(watcher) };
        // Dropping `server` on the way out ends the process.
        server.address = hearing.recv_timeout(PATIENCE).map_err(|_| server.failed())?;
        TcpStream::connect(server.address).map_err(|e| server.failed().with_source(e))?;
        Ok(server)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn failed(&self) -> Error {
        let said = self.log();
        let last = said.last().map_or("nothing", String::as_str);
        Error::new(Kind::Unavailable, format!("{PROGRAM} does not listen; it said: {}", printable(last)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // ESRCH: it has ended by itself.
        let _ended = pidfd_send_signal(&self.process, Signal::KILL);
        if let Some(watcher) = self.watcher.take() {
            // A panic of that thread has been printed by then.
            let _joined = watcher.join();
        }
    }
}

fn spawn(config: &Path) -> Result<(Child, OwnedFd)> {
    let program = find().ok_or_else(|| {
        Error::new(Kind::Unavailable, format!("there is no {PROGRAM} on this machine"))
            .with_hint(format!("sudo apt-get install {PROGRAM}"))
    })?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).arg("serve").arg(config);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Debian's package comes with a service that is of no use here; this process is a child like any other.
    let mut child = command.spawn().map_err(|e| Error::io("cannot start setpriv", e))?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(process) => Ok((child, process)),
        Err(e) => {
            let killed = child.kill().and_then(|()| child.wait());
            let error = Error::io(format!("cannot watch {PROGRAM}"), e.into());
            Err(killed.err().map_or(error, |e| Error::io(format!("cannot end {PROGRAM}"), e)))
        }
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/local/bin"].map(Into::into);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(PROGRAM)).find(|p| p.is_file())
}

/// Keeps the last lines until the server's end, and says once where it listens.
fn watch(mut child: Child, log: &Log, said: &mpsc::Sender<SocketAddr>) {
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        while matches!(lines.by_ref().take(LINE).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(address) = address(&text) {
                // Nobody listens any more when the port has been said before.
                let _heard = said.send(address);
            }
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LINES {
                log.pop_front();
            }
            log.push_back(text);
            line.clear();
        }
    }
    // Its end is all that matters; how it ended is in the log.
    let _status = child.wait();
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split(|c: char| c == '"' || c == ',' || c.is_whitespace()).next()?.parse().ok()
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
