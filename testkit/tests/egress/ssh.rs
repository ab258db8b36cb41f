//! git over ssh, which has no secret of ours: a name, a port, and what is said is nobody's business.

use super::world::World;
use crate::{Test, bench::expect};
use agentkernel_testkit::{origin::packages, proc};
use std::{
    fs,
    net::{IpAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) const fn tests() -> [Test; 1] {
    [("client/git-over-ssh", git)]
}

const ADDRESS: [u8; 4] = [10, 77, 0, 22];

fn git(world: &World) -> Result<(), String> {
    let place = world.bench.env.directory("ssh");
    packages::repository(&place).map_err(|e| e.to_string())?;
    for name in ["host", "client"] {
        keygen(&place.join(name))?;
    }
    let server = Server::start(&place)?;
    let port = server.port;
    world.site.dns().set("git.test", &[IpAddr::from(ADDRESS)]);
    let key = fs::read_to_string(place.join("client")).map_err(|e| e.to_string())?;
    let script = format!(
        "umask 077; printf '%s' '{key}' > /tmp/key
        export GIT_SSH_COMMAND='ssh -F none -i /tmp/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'
        git clone --quiet ssh://{}@git.test:{port}{}/repo.git /tmp/clone && cat /tmp/clone/README",
        login()?,
        place.display(),
    );
    let allowed = world.sandbox(
        "box",
        &["--only-listed", "--allow", &format!("git.test:{port}"), "--allow", &format!("10.77.0.22:{port}")],
    )?;
    let ran = allowed.sh(&script);
    expect(ran.code == Some(0) && ran.out() == "hello\n", || format!("{ran}\nsshd: {}", server.log()))?;
    let refused = world.sandbox("other", &["--only-listed", "--allow", "git.test:443"])?;
    let ran = refused.sh(&script);
    expect(ran.code != Some(0) && !ran.out().contains("hello"), || ran.to_string())
}

fn login() -> Result<String, String> {
    let said = Command::new("id").arg("-un").output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn keygen(path: &Path) -> Result<(), String> {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    if made.map_err(|e| format!("set-up: ssh-keygen: {e}"))?.success() {
        Ok(())
    } else {
        Err("set-up: ssh-keygen failed".to_owned())
    }
}

/// Debian's sshd on a port of its own, with keys of the test's own.
#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Server {
    fn start(place: &Path) -> Result<Self, String> {
        let port = free_port()?;
        let shown = place.display();
        let address = IpAddr::from(ADDRESS);
        let config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/client.pub\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        let file = place.join("sshd_config");
        fs::write(&file, config).map_err(|e| e.to_string())?;
        if rustix_is_root() {
            // Where Debian's sshd separates its privileges; its service makes it at boot.
            fs::create_dir_all("/run/sshd").map_err(|e| e.to_string())?;
        }
        let log = place.join("sshd.log");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", "/usr/sbin/sshd", "-D", "-f"])
            .arg(&file)
            .arg("-E")
            .arg(&log);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| format!("set-up: sshd: {e}"))?;
        let server = Self { child, port, log };
        server.wait()
    }

    /// Until it listens: its log is the only thing that says so, and nobody is told of a log.
    fn wait(self) -> Result<Self, String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.log().contains("Server listening") {
            if Instant::now() > deadline {
                return Err(format!("set-up: sshd does not listen: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(handle) = proc::handle(i32::try_from(self.child.id()).unwrap_or(0)) {
            let _ended = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::TERM);
        }
        let _status = self.child.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((IpAddr::from(ADDRESS), 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

fn rustix_is_root() -> bool {
    rustix::process::geteuid().is_root()
}
