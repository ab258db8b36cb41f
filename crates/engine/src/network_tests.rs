use super::*;
use agentkernel_model::{
    policy::{NetworkSwitch, PolicyRequest},
    secret::{SecretBinding, SecretGrant},
};

fn name() -> SandboxName {
    "box".parse().unwrap()
}

fn rules(texts: &[&str]) -> Vec<EgressRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn policy(texts: &[&str]) -> EffectivePolicy {
    EffectivePolicy::resolve(PolicyRequest { rules: rules(texts), ..PolicyRequest::default() })
}

fn shown(rules: &EgressRules) -> Vec<String> {
    rules.rules.iter().map(ToString::to_string).collect()
}

#[test]
fn new_rules_come_first_and_old_ones_keep_their_order() {
    let policy = policy(&["allow a.example.com", "deny b.example.com", "deny host"]);
    let change = NetworkChange {
        added: rules(&["deny c.example.com", "deny host"]),
        removed: rules(&["deny b.example.com"]),
        otherwise: Some(Otherwise::Deny),
    };
    let after = changed(&name(), &policy, &change).unwrap();
    assert_eq!(shown(&after), ["deny c.example.com", "deny host", "allow a.example.com"]);
    assert_eq!(after.otherwise, Otherwise::Deny);
    let nothing = changed(&name(), &policy, &NetworkChange::default()).unwrap();
    assert_eq!(Network::Rules(nothing), policy.network);
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let missing = NetworkChange { removed: rules(&["deny x.example.com"]), ..NetworkChange::default() };
    let refuse = |policy: &EffectivePolicy, change: &NetworkChange| {
        let error = changed(&name(), policy, change).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error.kind()
    };
    assert_eq!(refuse(&policy(&[]), &missing), Kind::NotFound);
    let off = PolicyRequest { network: Some(NetworkSwitch::Off), ..PolicyRequest::default() };
    assert_eq!(refuse(&EffectivePolicy::resolve(off), &NetworkChange::default()), Kind::Conflict);
    let open = EffectivePolicy { network: Network::Open, ..policy(&[]) };
    assert_eq!(refuse(&open, &NetworkChange::default()), Kind::Unsupported);
    let binding: SecretBinding = "KEY:api.example.com".parse().unwrap();
    let trusted = EffectivePolicy::resolve(PolicyRequest {
        secrets: vec![SecretGrant::from(&binding)],
        ..PolicyRequest::default()
    });
    let public = NetworkChange { otherwise: Some(Otherwise::Public), ..NetworkChange::default() };
    assert_eq!(refuse(&trusted, &public), Kind::Invalid);
    let added = (0..=EgressRules::MAX).map(|n| format!("deny h{n}.example.com").parse().unwrap());
    let many = NetworkChange { added: added.collect(), ..NetworkChange::default() };
    assert_eq!(refuse(&policy(&[]), &many), Kind::Invalid);
}
