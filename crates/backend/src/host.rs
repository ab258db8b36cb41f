//! What a driver knows of the machine: drivers read no environment variable and expand no `~`.

use std::path::PathBuf;

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
