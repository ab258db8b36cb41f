//! What a configuration that was only found may decide.
//!
//! A cloned repository brings its own `agentkernel.toml`. It may choose the image, the resources and the agent, and it
//! may tighten the policy. Whatever loosens it, or reaches the host, takes effect only when a person names the file.

use crate::file::Config;
use agentkernel_model::policy::{EffectivePolicy, Network, NetworkSwitch, Profile};

/// A configuration reduced to what it may decide, and what was left out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restricted {
    pub config: Config,
    /// Each is a setting as the file wrote it, such as `security.mount_cwd = true`.
    pub ignored: Vec<String>,
}

/// Reduces `config`. `flag` is the profile that the caller wrote, which the file can only tighten.
#[must_use]
pub fn restrict(mut config: Config, flag: Option<Profile>) -> Restricted {
    let mut ignored = Vec::new();
    if let Some(profile) = config.profile.filter(|wanted| *wanted > flag.unwrap_or_default()) {
        // Where a flag already chose the profile, the file's says nothing new.
        if flag.is_none() {
            ignored.push(format!("security.profile = \"{profile}\""));
        }
        config.profile = None;
    }
    let base = flag.or(config.profile).unwrap_or_default();
    let off_by_profile = EffectivePolicy::of_profile(base).network == Network::Off;
    if config.network == Some(NetworkSwitch::On) && off_by_profile {
        config.network = None;
        ignored.push("security.network = true".to_owned());
    }
    if config.mount_cwd == Some(true) {
        config.mount_cwd = None;
        ignored.push("security.mount_cwd = true".to_owned());
    }
    if !config.ports.is_empty() {
        // A published port listens on the host, where it can stand in for a service that is not running.
        config.ports.clear();
        ignored.push("network.ports".to_owned());
    }
    Restricted { config, ignored }
}

impl Restricted {
    /// The line for people that says what was left out and how to allow it; `None` when nothing was. `path` is how
    /// the file is named on a command line.
    #[must_use]
    pub fn note(&self, path: &str) -> Option<String> {
        if self.ignored.is_empty() {
            return None;
        }
        let what = self.ignored.join(", ");
        Some(format!("{path} was only found, so {what} is not applied; to allow it: --config {path}"))
    }
}
