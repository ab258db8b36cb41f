//! What a driver knows of the machine: drivers read no environment variable and expand no `~`.

use std::{collections::BTreeMap, path::PathBuf};

/// The places and identities that a driver may use.
#[derive(Debug, Clone)]
pub struct Host {
    /// Private (0700) durable directory; each sandbox has `sandboxes/<id>/` in it, which the engine makes and removes.
    pub data: PathBuf,
    /// The running binary, for drivers that start helper processes.
    pub exe: PathBuf,
    /// The effective user and group of this process.
    pub uid: u32,
    pub gid: u32,
    /// The invoking user's login name, for subordinate id ranges (subuid(5)).
    pub login: String,
    pub surroundings: Surroundings,
}

/// What the caller's environment says of where things are.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where a user's engines have their sockets.
    pub runtime_dir: Option<PathBuf>,
    /// The directories of PATH.
    pub path: Vec<PathBuf>,
    /// Variables that a driver's own documentation names, such as `DOCKER_HOST`, where they are set.
    pub variables: BTreeMap<String, String>,
    /// How many files this process could have open at its start, which its commands may have: it may have more itself by
    /// now. `None`: any number, or what this process may have.
    pub open_files: Option<u64>,
}

impl Surroundings {
    /// What `name` is set to; an empty value is none.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl Host {
    /// The directory of one sandbox.
    #[must_use]
    pub fn sandbox_dir(&self, id: agentkernel_model::id::SandboxId) -> PathBuf {
        self.data.join("sandboxes").join(id.to_string())
    }

    /// Where ephemeral runs keep what must be cleaned after a crash.
    #[must_use]
    pub fn runs_dir(&self) -> PathBuf {
        self.data.join("runs")
    }
}
