//! Rules of the network, and what `--secret` says: names, hosts and headers.
#![no_main]

use agentkernel_fuzz::refused;
use agentkernel_model::{
    Kind,
    egress::{EgressRule, Verdict},
    secret::{HeaderName, HostPattern, Origin, SecretBinding, SecretName},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<EgressRule>() {
        Ok(rule) => {
            assert_eq!(rule.to_string().parse::<EgressRule>().ok().as_ref(), Some(&rule), "{rule}");
            assert!(rule.http().is_none() || rule.target().name().is_some(), "{rule}");
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    if let Ok(rule) = EgressRule::parse(Verdict::Allow, text) {
        let written = rule.to_string();
        assert!(written.starts_with("allow ") && !written.chars().any(char::is_control), "{written:?}");
    }
    match text.parse::<HostPattern>() {
        Ok(pattern) => {
            assert_eq!(pattern.to_string().parse::<HostPattern>().ok().as_ref(), Some(&pattern));
            assert!(pattern.covers(&pattern));
            assert!(pattern.host().is_none_or(|host| pattern.matches(host)));
        }
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    match text.parse::<SecretBinding>() {
        Ok(binding) => match binding.origin() {
            Origin::Inline(_) => assert_eq!(format!("{:?}", binding.origin()), "Inline([secret])"),
            Origin::Vault => assert!(!text.contains('=')),
        },
        Err(error) => refused(&error, &[Kind::Invalid]),
    }
    for error in [text.parse::<HeaderName>().err(), text.parse::<SecretName>().err()].into_iter().flatten() {
        refused(&error, &[Kind::Invalid]);
    }
});
