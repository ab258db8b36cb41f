//! Which coding agents are on this machine: a look into the directories of PATH. No program is started.

use crate::Engine;
use agentkernel_model::{agent::Agent, secret::SecretName};
use rustix::fs::{Access, access};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What is known of one agent here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentReport {
    pub name: Agent,
    pub title: &'static str,
    /// The program by which it is found.
    pub program: &'static str,
    pub installed: bool,
    /// Where; `None` when it is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    pub api_key: KeyStatus,
    /// The names of keys that it can use, and never a value.
    pub keys: Vec<SecretName>,
}

/// Whether an agent has a key to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    Set,
    Missing,
}

impl KeyStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Missing => "missing",
        }
    }
}

/// Every agent that agentkernel knows. `path` are the directories of PATH, and `has_key` says whether there is a secret of
/// that name for whoever asks.
pub fn agents(path: &[PathBuf], has_key: impl Fn(&SecretName) -> bool) -> Vec<AgentReport> {
    let report = |agent: Agent| {
        let keys: Vec<SecretName> = agent.keys().flatten().collect();
        let found = program(path, agent);
        AgentReport {
            name: agent,
            title: agent.title(),
            program: agent.program(),
            installed: found.is_some(),
            path: found,
            api_key: if keys.iter().any(&has_key) { KeyStatus::Set } else { KeyStatus::Missing },
            keys,
        }
    };
    Agent::ALL.into_iter().map(report).collect()
}

/// The program of `agent`, where a shell would find it.
#[must_use]
pub fn program(path: &[PathBuf], agent: Agent) -> Option<PathBuf> {
    path.iter().map(|directory| directory.join(agent.program())).find(|file| is_runnable(file))
}

impl Engine {
    /// Whether the image `host` has the program of `agent`: it shows /usr, and of homes nothing that has one.
    #[must_use]
    pub fn host_image_has(&self, agent: Agent) -> bool {
        let found = program(&self.host.surroundings.path, agent).and_then(|file| file.canonicalize().ok());
        found.is_some_and(|file| file.starts_with("/usr"))
    }
}

fn is_runnable(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
#[path = "agents_tests.rs"]
mod tests;
