use super::*;
use agentkernel_model::{
    policy::{PolicyRequest, Profile},
    secret::SecretBinding,
};

fn policy(secrets: &[&str], files: &[&str]) -> EffectivePolicy {
    let grant = |text: &&str| SecretGrant::from(&text.parse::<SecretBinding>().unwrap());
    EffectivePolicy::resolve(PolicyRequest {
        secrets: secrets.iter().map(grant).collect(),
        secret_files: files.iter().map(|name| name.parse().unwrap()).collect(),
        ..PolicyRequest::default()
    })
}

fn bound(name: &str, host: &str) -> Bound {
    let value = Secret::new(b"value".to_vec()).unwrap();
    Bound::new(name.parse().unwrap(), host.parse().unwrap(), None, value).unwrap()
}

fn file(name: &str) -> (SecretName, Secret) {
    (name.parse().unwrap(), Secret::new(b"value".to_vec()).unwrap())
}

#[test]
fn exactly_what_the_policy_has() {
    let of_one = policy(&["A:one.example"], &["F"]);
    let all = Values { bound: vec![bound("A", "one.example")], files: vec![file("F")] };
    all.check(&of_one, "").unwrap();
    Values::default().check(&policy(&[], &[]), "").unwrap();
    // Wherever its vault says.
    let everywhere =
        Values { bound: vec![bound("A", "one.example"), bound("A", "two.example")], files: vec![] };
    everywhere.check(&policy(&["A"], &[]), "").unwrap();

    let refused =
        |values: Values, policy: &EffectivePolicy| values.check(policy, "the hint").unwrap_err().to_string();
    let no_file = Values { files: Vec::new(), ..all.clone() };
    assert_eq!(refused(no_file, &of_one), "the value of secret 'F' was not given");
    let no_secret = Values { bound: Vec::new(), ..all.clone() };
    assert_eq!(refused(no_secret, &of_one), "the value of secret 'A' was not given");
    let elsewhere =
        Values { bound: vec![bound("A", "one.example"), bound("A", "evil.example")], ..all.clone() };
    assert!(refused(elsewhere, &of_one).contains("to go to evil.example"));
    let another = Values { files: vec![file("F"), file("G")], ..all };
    assert!(refused(another, &of_one).contains("a file with secret 'G'"));
}

#[test]
fn a_header_that_was_granted_is_the_one_that_is_sent() {
    let of_one = policy(&["A:one.example:X-Key"], &[]);
    let derived = Values { bound: vec![bound("A", "one.example")], files: Vec::new() };
    assert!(derived.check(&of_one, "").is_err());
    let with = |header: &str| {
        let value = Secret::new(b"value".to_vec()).unwrap();
        let header = Some(header.parse().unwrap());
        let bound = Bound::new("A".parse().unwrap(), "one.example".parse().unwrap(), header, value).unwrap();
        Values { bound: vec![bound], files: Vec::new() }
    };
    with("X-Key").check(&of_one, "").unwrap();
    assert!(with("X-Other").check(&of_one, "").is_err());
}

#[test]
fn secrets_need_a_network() {
    let policy = EffectivePolicy {
        network: EffectivePolicy::of_profile(Profile::Restrictive).network,
        ..policy(&["A:one.example"], &[])
    };
    let values = Values { bound: vec![bound("A", "one.example")], files: Vec::new() };
    assert!(values.check(&policy, "").unwrap_err().to_string().contains("need a network"));
}
