use super::*;
use crate::{Change, EnvVault, KeychainVault, keychain::tests::Memory};
use std::collections::BTreeMap;

fn vault(entries: &[(&str, &str, &[&str], Option<&str>)]) -> KeychainVault {
    let vault = KeychainVault::new(Box::new(Memory::default()));
    for (name, value, hosts, header) in entries {
        let change = Change {
            name: name.parse().unwrap(),
            value: Secret::new(value.as_bytes().to_vec()).unwrap(),
            hosts: Some(hosts.iter().map(|host| host.parse().unwrap()).collect()),
            header: header.map(|header| header.parse().unwrap()),
            set_at: 1,
            by_caller: false,
        };
        vault.put(change).unwrap();
    }
    vault
}

fn bindings(texts: &[&str]) -> Vec<SecretBinding> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn sent(bound: &Bound) -> String {
    let value = bound.header().value(bound.secret()).unwrap();
    format!("{} {}: {}", bound.host(), bound.header().name(), String::from_utf8_lossy(&value))
}

#[test]
fn each_form_is_sent_as_it_says() {
    let own = vault(&[
        ("ANTHROPIC_API_KEY", "sk-1", &["api.anthropic.com", "*.corp.example"], None),
        ("FREE", "f", &[], None),
        ("SPELLED", "s", &[], Some("X-Own")),
    ]);
    let rows: [(&str, &[&str]); 7] = [
        ("ANTHROPIC_API_KEY:api.anthropic.com", &["api.anthropic.com x-api-key: sk-1"]),
        ("ANTHROPIC_API_KEY:llm.corp.example:X-Key", &["llm.corp.example x-key: sk-1"]),
        ("ANTHROPIC_API_KEY", &["api.anthropic.com x-api-key: sk-1", "*.corp.example x-api-key: sk-1"]),
        ("FREE:api.x.com", &["api.x.com authorization: Bearer f"]),
        ("SPELLED:api.x.com", &["api.x.com x-own: s"]),
        ("SPELLED:api.x.com:X-Other", &["api.x.com x-other: s"]),
        ("ANTHROPIC_API_KEY=inline:evil.example", &["evil.example x-api-key: inline"]),
    ];
    for (binding, wanted) in rows {
        let bound = resolve(&bindings(&[binding]), &[&own]).unwrap();
        assert_eq!(bound.iter().map(sent).collect::<Vec<_>>(), wanted, "{binding}");
        assert!(!format!("{bound:?}").contains("sk-1"));
    }
}

#[test]
fn a_secret_goes_nowhere_that_its_vault_does_not_allow() {
    let own = vault(&[("K", "v", &["api.x.com"], None)]);
    for (binding, kind) in [
        ("K:evil.example", Kind::Denied),
        ("K:*.x.com", Kind::Denied),
        ("K:x.com", Kind::Denied),
        ("NOPE:api.x.com", Kind::NotFound),
    ] {
        let error = resolve(&bindings(&[binding]), &[&own]).unwrap_err();
        assert!(error.kind() == kind && error.hint().is_some(), "{binding}: {error}");
    }
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_starts() {
    let own = vault(&[("PEM", "line\nline", &[], None), ("A", "a", &[], None), ("B", "b", &[], None)]);
    for wrong in
        [&["PEM:api.x.com"][..], &["A"], &["A:api.x.com", "B:api.x.com"], &["A:api.x.com", "A:api.x.com"]]
    {
        let error = resolve(&bindings(wrong), &[&own]).unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.hint().is_some(), "{wrong:?}: {error}");
        assert!(!error.to_string().contains("line\n"), "{error}");
    }
    assert!(resolve(&bindings(&["A:api.x.com", "B:api.x.com:X-B"]), &[&own]).is_ok());
}

#[test]
fn vaults_are_asked_in_order() {
    let first = vault(&[("A", "first", &[], None)]);
    let value = |text: &str| Secret::new(text.as_bytes().to_vec()).unwrap();
    let variables = [("A", "second"), ("B", "other")].map(|(k, v)| (k.parse().unwrap(), value(v)));
    let second = EnvVault::new(BTreeMap::from(variables));
    let bound = resolve(&bindings(&["A:a.x.com", "B:b.x.com"]), &[&first, &second]).unwrap();
    assert_eq!(
        bound.iter().map(sent).collect::<Vec<_>>(),
        ["a.x.com authorization: Bearer first", "b.x.com authorization: Bearer other"]
    );
    let error = resolve(&bindings(&["AB:a.x.com"]), &[&first, &second]).unwrap_err();
    assert_eq!(error.hint(), Some("did you mean 'A'?"));
    assert!(
        second
            .put(Change {
                name: "A".parse().unwrap(),
                value: value("x"),
                hosts: None,
                header: None,
                set_at: 0,
                by_caller: false,
            })
            .is_err()
    );
    assert!(second.delete(&"A".parse().unwrap()).is_err());
}

#[test]
fn a_secret_that_no_variable_has_is_set_where_variables_are() {
    let hint = |vaults: &[&dyn Vault]| {
        require(&"KEY".parse().unwrap(), vaults).unwrap_err().hint().map(str::to_owned)
    };
    let (variables, kept) = (EnvVault::new(BTreeMap::new()), vault(&[]));
    assert_eq!(hint(&[&variables]).as_deref(), Some("set the variable KEY where agentkernel is called"));
    assert_eq!(hint(&[&kept, &variables]).as_deref(), Some("agentkernel secret set KEY"));
}
