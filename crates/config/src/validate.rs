//! What a configuration says that makes no sense, although each part of it is well formed.

use crate::{file::Config, workspace::Share};
use agentkernel_model::{
    mount::Access,
    policy::{EffectivePolicy, Network, NetworkSwitch, Profile},
};
use std::{collections::HashSet, fmt};

/// Something to say to whoever wrote the file. It never keeps a sandbox from being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The key that it is about.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Config {
    /// The warnings, in the order of the file's tables.
    #[must_use]
    pub fn validate(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |key: &str, message: &str| {
            warnings.push(Warning { key: key.to_owned(), message: message.to_owned() });
        };
        if !self.ports.is_empty() && !self.has_network() {
            warn("network.ports", "the network is off, so that programs inside reach nothing through it");
        }
        if self.publishes_twice() {
            warn("network.ports", "one port of this machine is published twice");
        }
        if self.mount_cwd == Some(false) && self.workspace.share == Some(Share::ReadWrite) {
            warn("security.mount_cwd", "is false, and workspace.mode is rw");
        }
        if !self.allow_write.is_empty() && !self.writes_to_host() {
            warn(
                "security.allow_write",
                "has no effect where no directory of this machine is mounted writable",
            );
        }
        for key in &self.credentials {
            warn(
                key,
                "holds a credential in clear; name an environment variable with the key that ends in _env",
            );
        }
        warnings
    }

    fn has_network(&self) -> bool {
        match self.network {
            Some(switch) => switch == NetworkSwitch::On,
            None => EffectivePolicy::of_profile(self.profile.unwrap_or_default()).network != Network::Off,
        }
    }

    fn publishes_twice(&self) -> bool {
        let mut hosts = HashSet::new();
        let distinct: HashSet<_> = self.ports.iter().filter(|port| port.host != 0).collect();
        distinct.into_iter().any(|port| !hosts.insert(port.host))
    }

    fn writes_to_host(&self) -> bool {
        let workspace = match self.workspace.share {
            Some(share) => share == Share::ReadWrite,
            None => self.workspace.path.is_some() && self.profile != Some(Profile::Restrictive),
        };
        let cwd = self.mount_cwd.unwrap_or(self.profile == Some(Profile::Permissive));
        workspace || cwd || self.mounts.iter().any(|mount| mount.access() == Access::ReadWrite)
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
