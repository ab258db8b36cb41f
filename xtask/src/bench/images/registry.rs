//! A registry on loopback: the program docker-registry, with a directory of its own.

use super::layout::Layout;
use crate::{Outcome, bench::command::quiet, suite::on_path};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

const PROGRAM: &str = "docker-registry";
/// Its log is the only place where it tells the port that the kernel chose.
const LISTENING: &str = "listening on ";
const PATIENCE: Duration = Duration::from_secs(60);

/// Ended when dropped, and with this process.
#[derive(Debug)]
pub(super) struct Registry {
    child: Child,
    reader: Option<JoinHandle<()>>,
    address: String,
    log: PathBuf,
}

impl Registry {
    pub(super) fn start(dir: &Path) -> Result<Self, String> {
        if !on_path(PROGRAM) {
            return Err(format!("{PROGRAM} is not installed: apt-get install {PROGRAM}"));
        }
        let config = dir.join("registry.yml");
        // JSON is YAML.
        let text = json!({
            "version": "0.1", "log": {"accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": dir.join("registry")}},
            "http": {"addr": "127.0.0.1:0", "secret": "loopback"},
        });
        fs::write(&config, text.to_string()).map_err(|error| error.to_string())?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", PROGRAM, "serve"]).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("setpriv cannot be started: {error}"))?;
        let (said, hearing) = mpsc::channel();
        let errors = child.stderr.take();
        let reader = std::thread::spawn(move || {
            for line in
                errors.into_iter().flat_map(|errors| BufReader::new(errors).lines()).map_while(Result::ok)
            {
                if let Some(address) = address(&line) {
                    // It says so once; nobody listens later.
                    let _heard = said.send(address.to_owned());
                }
            }
        });
        let log = dir.join("push.log");
        let mut registry = Self { child, reader: Some(reader), address: String::new(), log };
        let heard = hearing.recv_timeout(PATIENCE);
        registry.address = heard.map_err(|_| format!("{PROGRAM} does not say that it listens"))?;
        Ok(registry)
    }

    /// Such as `127.0.0.1:41231`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Puts an image there with skopeo, as it is.
    pub(super) fn push(&self, layout: &Layout, name: &str) -> Outcome<()> {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--preserve-digests", "--dest-tls-verify=false"]);
        command.arg(format!("oci:{}", layout.dir().display()));
        command.arg(format!("docker://{}/{name}", self.address));
        quiet(&mut command, &self.log).map_err(|why| format!("skopeo cannot push {name}: {why}"))?;
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("bench: {PROGRAM} is left behind: {error}");
        } else if let Some(reader) = self.reader.take() {
            // Its pipe is closed; a panic in it has been printed.
            let _joined = reader.join();
        }
    }
}

fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split(['"', ',', ' ']).next().filter(|word| word.starts_with("127.0.0.1:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_line_of_the_log() {
        let line = r#"time="x" level=info msg="listening on 127.0.0.1:43117" go.version=go1.19"#;
        assert_eq!(address(line), Some("127.0.0.1:43117"));
        assert_eq!(address("msg=\"listening on [::]:5000, tls\""), None);
        assert_eq!(address("starting"), None);
    }
}
