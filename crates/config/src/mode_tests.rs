use super::*;
use agentkernel_model::{
    policy::{EffectivePolicy, Network},
    secret::{Held, SecretGrant},
};

fn key(name: &str) -> SecretBinding {
    let name: SecretName = name.parse().unwrap();
    SecretBinding::from(&SecretGrant { host: host_of(&name), name, held: Held::Vault, header: None })
}

fn accommodated(mut written: Ingredients, agent: Agent, keys: &[&str]) -> (Ingredients, EffectivePolicy) {
    let keys = keys.iter().map(|name| key(name)).collect();
    written.accommodate(agent, Provisions { keys, shown: Vec::new() }).unwrap();
    let policy = written.policy(Vec::new(), None);
    (written, policy)
}

fn rules(policy: &EffectivePolicy) -> Vec<String> {
    let rules = policy.rules().unwrap();
    assert_eq!(rules.otherwise, Otherwise::Deny);
    rules.rules.iter().map(ToString::to_string).collect()
}

fn variable<'i>(ingredients: &'i Ingredients, key: &str) -> Option<&'i str> {
    ingredients.env.iter().rev().find(|var| var.key() == key).map(EnvVar::value)
}

#[test]
fn modes_read_back() {
    for name in Mode::NAMES {
        assert_eq!(name.parse::<Mode>().unwrap().to_string(), name);
    }
    assert_eq!("natvie".parse::<Mode>().unwrap_err().hint(), Some("did you mean 'native'?"));
}

#[test]
fn an_agent_reaches_its_service_with_its_key_and_nothing_else() {
    let (ingredients, policy) = accommodated(Ingredients::default(), Agent::Claude, &["ANTHROPIC_API_KEY"]);
    assert_eq!(rules(&policy), ["allow api.anthropic.com:443"]);
    assert_eq!(policy.secrets.len(), 1);
    assert_eq!(policy.secrets[0].host.as_ref().unwrap().to_string(), "api.anthropic.com");
    assert_eq!(policy.profile, Profile::Moderate);
    assert_eq!(variable(&ingredients, "IS_SANDBOX"), Some("1"));
    // The key itself is a matter of the policy: no variable has it, or stands for it, here.
    assert_eq!(variable(&ingredients, "ANTHROPIC_API_KEY"), None);
}

#[test]
fn without_a_key_it_still_reaches_nothing_else() {
    for agent in Agent::ALL {
        let (_, policy) = accommodated(Ingredients::default(), agent, &[]);
        let hosts: Vec<String> = agent.hosts().map(|host| format!("allow {host}:443")).collect();
        assert_eq!(rules(&policy), hosts, "{agent}");
        assert!(policy.secrets.is_empty());
    }
}

#[test]
fn a_key_is_found_under_the_name_that_the_agent_reads() {
    let (ingredients, policy) = accommodated(Ingredients::default(), Agent::Gemini, &["GOOGLE_API_KEY"]);
    assert_eq!(variable(&ingredients, "GEMINI_API_KEY"), Some(PLACEHOLDER));
    assert_eq!(policy.secrets.len(), 1);
    let (ingredients, _) = accommodated(Ingredients::default(), Agent::Codex, &["OPENAI_API_KEY"]);
    assert_eq!(variable(&ingredients, "CODEX_API_KEY"), Some(PLACEHOLDER));
    let (ingredients, _) = accommodated(Ingredients::default(), Agent::Codex, &[]);
    assert_eq!(variable(&ingredients, "CODEX_API_KEY"), None, "a placeholder where there is no key");
    let (_, policy) = accommodated(Ingredients::default(), Agent::OpenCode, &["OPENAI_API_KEY"]);
    assert_eq!(rules(&policy), ["allow api.openai.com:443"], "hosts of keys that are not there stay closed");
}

#[test]
fn what_somebody_wrote_wins() {
    let deny: EgressRule = "deny *.anthropic.com".parse().unwrap();
    let written = Ingredients {
        rules: vec![deny.clone()],
        otherwise: Some(Otherwise::Public),
        env: vec![EnvVar::new("IS_SANDBOX", "0").unwrap()],
        secrets: vec!["ANTHROPIC_API_KEY:proxy.example.com".parse().unwrap()],
        profile: Some(Profile::Restrictive),
        ..Ingredients::default()
    };
    let (ingredients, policy) = accommodated(written, Agent::Claude, &["ANTHROPIC_API_KEY"]);
    assert_eq!(ingredients.rules[0], deny);
    assert_eq!(ingredients.otherwise, Some(Otherwise::Public));
    assert_eq!(variable(&ingredients, "IS_SANDBOX"), Some("0"));
    let hosts: Vec<_> = policy.secrets.iter().map(|one| one.host.as_ref().unwrap().to_string()).collect();
    assert_eq!(hosts, ["proxy.example.com"]);
    // A sandbox with a secret is closed by the policy, whatever was written.
    assert_eq!(rules(&policy).last().unwrap(), "allow api.anthropic.com:443");
    assert_eq!(policy.caps, EffectivePolicy::of_profile(Profile::Restrictive).caps);
    // Another key for the same host.
    let written =
        Ingredients { secrets: vec!["MINE:api.anthropic.com".parse().unwrap()], ..Ingredients::default() };
    let (_, policy) = accommodated(written, Agent::Claude, &["ANTHROPIC_API_KEY"]);
    assert_eq!(policy.secrets.len(), 1);
    assert_eq!(policy.secrets[0].name.as_str(), "MINE");
}

#[test]
fn a_network_that_was_taken_away_stays_away_and_keys_with_it() {
    let mut written = Ingredients { network: Some(NetworkSwitch::Off), ..Ingredients::default() };
    let provisions = Provisions { keys: vec![key("OPENAI_API_KEY")], shown: Vec::new() };
    let outcome = written.accommodate(Agent::Codex, provisions).unwrap();
    assert_eq!(outcome, Accommodated::WithoutNetwork);
    let policy = written.policy(Vec::new(), None);
    assert_eq!(policy.network, Network::Off);
    assert!(policy.secrets.is_empty() && written.rules.is_empty());
    assert_eq!(variable(&written, "CODEX_API_KEY"), None);
}
