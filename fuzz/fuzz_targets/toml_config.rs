//! agentkernel.toml, and what one that was only found may decide.
#![no_main]

use agentkernel_config::{Config, trust};
use agentkernel_fuzz::refused;
use agentkernel_model::{
    Kind,
    policy::{EffectivePolicy, Network, NetworkSwitch, Profile},
    spec::Isolation,
};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let config = match Config::parse("agentkernel.toml", text) {
        Ok(config) => config,
        Err(error) => return refused(&error, &[Kind::Config, Kind::Unsupported]),
    };
    let _warnings = config.validate();
    for flag in [None, Some(Profile::Restrictive), Some(Profile::Permissive)] {
        restricted(config.clone(), flag);
    }
});

/// Whatever a file says: once it was only found, nothing of it reaches the host or loosens the policy.
fn restricted(config: Config, flag: Option<Profile>) {
    let found = trust::restrict(config, flag);
    let config = &found.config;
    let base = EffectivePolicy::of_profile(flag.unwrap_or_default());
    assert!(config.ports.is_empty() && config.mounts.is_empty() && config.allow_write.is_empty());
    assert!(config.backend.is_none() && config.workspace.path.is_none() && config.build.is_empty());
    assert_ne!(config.mount_cwd, Some(true));
    assert!(config.profile.is_none_or(|profile| profile <= flag.unwrap_or_default()));
    assert!(config.network != Some(NetworkSwitch::On) || base.network != Network::Off);
    assert_ne!(config.isolation, Some(Isolation::Any));
    if let Some(note) = found.note("agentkernel.toml") {
        assert!(!note.chars().any(char::is_control), "{note:?}");
    }
    if let Err(error) = config.ingredients(Path::new("/home/somebody/project")) {
        refused(&error, &[Kind::Invalid, Kind::Config, Kind::Unsupported]);
    }
}
