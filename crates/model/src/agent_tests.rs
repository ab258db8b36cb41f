use super::*;
use crate::command::EnvVar;
use std::collections::BTreeSet;

#[test]
fn names_read_back_and_typos_are_told() {
    for (agent, name) in Agent::ALL.into_iter().zip(Agent::NAMES) {
        assert_eq!((agent.to_string().as_str(), name.parse::<Agent>().unwrap()), (name, agent));
    }
    let error = "cloude".parse::<Agent>().unwrap_err();
    assert_eq!(error.hint(), Some("did you mean 'claude'?"));
}

#[test]
fn every_key_is_a_name_whose_service_is_known() {
    for agent in Agent::ALL {
        let raw: usize = agent.facts().keys.iter().map(|names| names.len()).sum();
        assert_eq!(agent.keys().map(|names| names.len()).sum::<usize>(), raw, "{agent}: a name is invalid");
        for names in agent.keys() {
            let hosts: BTreeSet<_> = names.iter().map(host_of).collect();
            assert!(hosts.len() == 1 && !hosts.contains(&None), "{agent}: {names:?} go to {hosts:?}");
        }
        assert_eq!(agent.hosts().count(), agent.keys().count(), "{agent}");
        // One host gets one key, or the gateway could not know which.
        assert_eq!(agent.hosts().collect::<BTreeSet<_>>().len(), agent.hosts().count(), "{agent}");
    }
}

#[test]
fn what_is_shown_and_set_is_well_formed_and_holds_no_login() {
    for agent in Agent::ALL {
        assert!(agent.env().iter().all(|(key, value)| EnvVar::new(key, value).is_ok()), "{agent}");
        for path in agent.instructions() {
            let inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
            let whole = path.split('/').count() > 1;
            assert!(inside && whole, "{agent}: {path} is no place below a directory of its own");
            let told = ["auth", "cred", "token", "settings", "config.toml", ".json"];
            assert!(!told.iter().any(|word| path.contains(word)), "{agent}: {path} may hold a login");
        }
    }
}
