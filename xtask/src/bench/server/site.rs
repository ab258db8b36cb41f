//! The server that is measured, and the command line beside it, on one home.

use super::http::{Address, Client};
use crate::{
    Outcome,
    bench::{command::quiet, proc},
    person::Person,
};
use serde_json::Value;
use std::{
    fs::{self, File, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Only on this machine, and only while the benchmark runs.
const KEY: &str = "only-for-the-benchmark";

/// A server that answers. Ended when dropped.
#[derive(Debug)]
pub(super) struct Site<'a> {
    agentkernel: PathBuf,
    person: &'a Person,
    home: PathBuf,
    address: Address,
    server: Child,
}

impl<'a> Site<'a> {
    pub(super) fn start(agentkernel: &Path, person: &'a Person, home: PathBuf) -> Outcome<Self> {
        let keys = home.join("keys");
        fs::write(&keys, format!("{KEY}\n"))?;
        fs::set_permissions(&keys, Permissions::from_mode(0o600))?;
        person.give(&keys)?;
        let mut command = Command::new(agentkernel);
        person.become_in(&mut command, &home);
        command.args(["serve", "--port", "0", "--json", "--api-key-file"]).arg(&keys).current_dir(&home);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(home.join("server.log"))?);
        let mut server = command.spawn()?;
        let mut said = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        let at =
            said["url"].as_str().and_then(|url| url.strip_prefix("http://")).and_then(|at| at.parse().ok());
        let Some(at) = at else {
            server.kill()?;
            server.wait()?;
            let why = fs::read_to_string(home.join("server.log")).unwrap_or_default();
            return Err(format!("the server does not begin: {}", why.trim()).into());
        };
        let address = Address { at, key: KEY.to_owned() };
        Ok(Self { agentkernel: agentkernel.to_owned(), person, home, address, server })
    }

    pub(super) fn client(&self) -> Result<Client, String> {
        Client::connect(&self.address).map_err(|error| format!("the server does not answer: {error}"))
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.agentkernel);
        self.person.become_in(&mut command, &self.home);
        command.args(words).current_dir(&self.home);
        command
    }

    pub(super) fn call(&self, words: &[&str]) -> Result<(), String> {
        let done = quiet(&mut self.command(words), &self.home.join("call.log"));
        done.map_err(|why| format!("agentkernel {}: {why}", words.join(" ")))
    }

    /// Of the server alone, in MB (10^6 bytes).
    pub(super) fn resident_mb(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/status", self.server.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let kib = proc::kib_field(&text, "VmRSS:").ok_or_else(|| format!("{path} tells no VmRSS"))?;
        Ok(kib as f64 * 1024.0 / 1e6)
    }

    pub(super) fn descriptors(&self) -> Result<usize, String> {
        let path = format!("/proc/{}/fd", self.server.id());
        fs::read_dir(&path).map(Iterator::count).map_err(|error| format!("{path}: {error}"))
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        let ended = self.server.kill().and_then(|()| self.server.wait());
        if let Err(error) = ended {
            eprintln!("bench: the server is left behind: {error}");
        }
    }
}
