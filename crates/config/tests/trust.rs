//! A configuration that was only found cannot loosen anything.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentkernel_config::{Config, trust::restrict};
use agentkernel_model::policy::{EffectivePolicy, PolicyRequest, Profile};
use proptest::prelude::*;

fn config(text: &str) -> Config {
    Config::parse("f", text).unwrap()
}

#[test]
fn what_loosens_is_left_out_and_named() {
    let written = config(
        "[security]\nprofile = 'permissive'\nmount_cwd = true\n[network]\nports = [80]\n[sandbox]\nbase_image = 'host'\n\
         [resources]\nmemory_mb = 2048",
    );
    let kept = restrict(written.clone(), None);
    assert_eq!(kept.config.profile, None);
    assert_eq!(kept.config.mount_cwd, None);
    assert!(kept.config.ports.is_empty());
    assert_eq!((&kept.config.image, kept.config.memory), (&written.image, written.memory));
    assert_eq!(
        kept.note("./agentkernel.toml").unwrap(),
        "./agentkernel.toml was only found, so security.profile = \"permissive\", security.mount_cwd = true, \
         network.ports is not applied; to allow it from now on: agentkernel trust; only this time, to allow it: \
         --config ./agentkernel.toml"
    );
}

#[test]
fn what_tightens_is_kept_without_a_word() {
    let written = config("[security]\nprofile = 'restrictive'\nnetwork = false\nmount_cwd = false");
    let kept = restrict(written.clone(), None);
    assert_eq!(kept.config, written);
    assert_eq!(kept.note("f"), None);
}

#[test]
fn a_flag_is_tightened_and_never_loosened() {
    let on = config("[security]\nprofile = 'moderate'\nnetwork = true");
    let kept = restrict(on.clone(), Some(Profile::Restrictive));
    assert_eq!((kept.config.profile, kept.config.network), (None, None));
    assert_eq!(kept.ignored, ["security.network = true"]);
    assert_eq!(restrict(on.clone(), None).config, on);
}

proptest! {
    /// The policy with a found file is nowhere wider than the one without it.
    #[test]
    fn a_found_file_never_widens(
        flag in prop::option::of(prop::sample::select(&Profile::NAMES[..])),
        written in prop::option::of(prop::sample::select(&Profile::NAMES[..])),
        network in prop::option::of(any::<bool>()),
        mount in prop::option::of(any::<bool>()),
    ) {
        let mut text = "[security]\n".to_owned();
        if let Some(profile) = written { text += &format!("profile = '{profile}'\n"); }
        if let Some(on) = network { text += &format!("network = {on}\n"); }
        if let Some(on) = mount { text += &format!("mount_cwd = {on}\n"); }
        let flag: Option<Profile> = flag.map(|name| name.parse().unwrap());
        let kept = restrict(config(&text), flag).config;
        let resolve = |profile: Option<Profile>, network| {
            EffectivePolicy::resolve(PolicyRequest { profile: profile.unwrap_or_default(), network, ..PolicyRequest::default() })
        };
        let without = resolve(flag, None);
        let with = resolve(flag.or(kept.profile), kept.network);
        prop_assert!(with.profile <= without.profile);
        prop_assert!(with.network <= without.network);
        prop_assert!(with.root <= without.root);
        prop_assert!(with.caps.is_subset(without.caps));
        prop_assert!(kept.mount_cwd != Some(true));
    }
}
