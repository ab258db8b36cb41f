//! Debian's sshd on a port of its own, with keys of the test's own, for whoever runs the test.

use crate::proc;
use agentkernel_model::{Error, Kind, Result};
use std::{
    fs, io,
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, which ends with the value.
#[derive(Debug)]
pub struct Sshd {
    child: Child,
    port: u16,
    place: PathBuf,
}

impl Sshd {
    /// Starts one at `address`, with its files in the directory `place`: `client` is the key that it lets in.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] without the programs, and when it does not begin to listen.
    pub fn start(place: &Path, address: IpAddr) -> Result<Self> {
        let io = |what: &'static str| move |e: io::Error| Error::io(format!("set-up: {what}"), e);
        for name in ["host", "client"] {
            let mut keygen = Command::new("ssh-keygen");
            let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(place.join(name)).status();
            if !made.map_err(io("ssh-keygen"))?.success() {
                return Err(Error::new(Kind::Unavailable, "set-up: ssh-keygen failed"));
            }
        }
        let free = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr());
        let port = free.map_err(io("a free port"))?.port();
        let shown = place.display();
        let config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/client.pub\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        let file = place.join("sshd_config");
        fs::write(&file, config).map_err(io("sshd_config"))?;
        if rustix::process::geteuid().is_root() {
            // Where Debian's sshd separates its privileges; its service makes it at boot.
            fs::create_dir_all("/run/sshd").map_err(io("/run/sshd"))?;
        }
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "/usr/sbin/sshd", "-D", "-f"]).arg(&file);
        command.arg("-E").arg(place.join("sshd.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(io("sshd"))?;
        Self { child, port, place: place.to_owned() }.wait()
    }

    /// Until it listens: its log is the only thing that says so, and nobody is told of a log.
    fn wait(self) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("Server listening") {
            if Instant::now() > deadline {
                let error = format!("set-up: sshd does not listen: {}", self.log());
                return Err(Error::new(Kind::Unavailable, error));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.join("sshd.log")).unwrap_or_default()
    }

    /// The line of `known_hosts` that tells it from others at `address`.
    ///
    /// # Errors
    /// When its key cannot be read.
    pub fn known_as(&self, address: IpAddr) -> Result<String> {
        let key =
            fs::read_to_string(self.place.join("host.pub")).map_err(|e| Error::io("set-up: host.pub", e))?;
        Ok(format!("[{address}]:{} {key}", self.port))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(handle) = proc::handle(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ended = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::TERM);
        }
        let _status = self.child.wait();
    }
}
