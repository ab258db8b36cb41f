//! Where agentkernel is called: a home of its own, and the engines that it is told of.

use super::engine::{Engine, Sort};
use crate::bench::command::quiet;
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// How long a pool may take to be full again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many sandboxes of a kind the daemon keeps, unless it is told otherwise.
const KEPT: u64 = 3;
/// How often it is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct World {
    pub(super) agentkernel: PathBuf,
    pub(super) home: PathBuf,
    /// `(variable, value)`.
    pub(super) told: Vec<(&'static str, String)>,
}

impl World {
    pub(super) fn new(agentkernel: PathBuf, home: PathBuf, engines: &[&Engine]) -> Self {
        let told =
            engines.iter().map(|engine| (engine.sort.variable(), engine.address().to_owned())).collect();
        Self { agentkernel, home, told }
    }

    /// agentkernel with its data in `data`, a directory of the home.
    pub(super) fn agentkernel(&self, data: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.agentkernel);
        command.args(words).current_dir(&self.home).env("HOME", &self.home);
        command.env("XDG_DATA_HOME", self.home.join(data)).env("XDG_RUNTIME_DIR", self.home.join("run"));
        for sort in [Sort::Docker, Sort::Podman] {
            command.env_remove(sort.variable());
        }
        command.env_remove("DOCKER_CONTEXT").envs(self.told.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Has agentkernel do something that must succeed.
    pub(super) fn call(&self, data: &str, words: &[&str]) -> Result<(), String> {
        let done = quiet(&mut self.agentkernel(data, words), &self.home.join("call.log"));
        done.map_err(|why| format!("agentkernel {}: {why}", words.join(" ")))
    }

    /// Waits until the daemon of `data` has all that it keeps.
    pub(super) fn fill_pool(&self, data: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.agentkernel(data, &["daemon", "status", "--json"]).output();
            let said = said.map_err(|error| error.to_string())?.stdout;
            let status: serde_json::Value =
                serde_json::from_slice(&said).map_err(|error| error.to_string())?;
            if status["warm"].as_u64() == Some(KEPT) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the pool does not fill: {status}"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
