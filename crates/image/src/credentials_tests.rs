use super::*;
use agentkernel_model::Kind;
use std::{cell::RefCell, fs, os::unix::fs::PermissionsExt as _};

/// A directory with `config.json` and credential helpers, shell scripts by name.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        Self(dir)
    }

    fn helper(self, name: &str, script: &str) -> Self {
        let path = self.0.path().join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn try_find(&self, host: &str, repository: &str) -> (Result<Option<Credentials>>, Vec<String>) {
        let config = self.0.path().join("config.json");
        let path = [self.0.path().to_owned()];
        let keyring = Keyring {
            docker_config: Some(&config),
            containers_auth: None,
            helper_path: &path,
            helper_timeout: Duration::from_millis(400),
        };
        let notes = RefCell::new(Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let note = |text: &str| notes.borrow_mut().push(text.to_owned());
        let found = runtime.block_on(keyring.find(host, repository, &note));
        (found, notes.into_inner())
    }

    fn find(&self, host: &str, repository: &str) -> Option<Credentials> {
        self.try_find(host, repository).0.unwrap()
    }
}

fn password(username: &str, password: &str) -> Option<Credentials> {
    Some(Credentials::Password { username: username.to_owned(), password: Secret::new(password.to_owned()) })
}

#[test]
fn files_are_read_by_host_and_by_the_longest_path() {
    // u:p, a:b, d:e
    let home = Home::new(
        r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"quay.io/team":{"auth":"YTpi"},
        "quay.io":{"auth":"ZDpl"},"https://x.test/v2/":{"username":"n","password":"o"},
        "t.test":{"identitytoken":"refresh"},"r.test":{"registrytoken":"bearer","auth":"dTpw"},"e.test":{}}}"#,
    );
    assert_eq!(home.find("docker.io", "library/python"), password("u", "p"));
    assert_eq!(home.find("quay.io", "team/app"), password("a", "b"));
    assert_eq!(home.find("quay.io", "teams/app"), password("d", "e"));
    assert_eq!(home.find("x.test", "a"), password("n", "o"));
    assert_eq!(home.find("t.test", "a"), Some(Credentials::Refresh(Secret::new("refresh".to_owned()))));
    assert_eq!(home.find("r.test", "a"), Some(Credentials::Token(Secret::new("bearer".to_owned()))));
    assert_eq!(home.find("e.test", "a"), None);
    assert_eq!(home.find("io", "a"), None);
}

#[test]
fn helpers_are_asked_for_their_registry_or_for_all() {
    let script = |user: &str| {
        format!(
            r#"read server; [ "$1" = get ] && echo "{{\"Username\":\"{user}\",\"Secret\":\"for $server\"}}""#
        )
    };
    let home = Home::new(r#"{"credHelpers":{"x.test":"one"},"credsStore":"all","auths":{"y.test":{}}}"#)
        .helper("one", &script("one"))
        .helper("all", &script("<token>"));
    assert_eq!(home.find("x.test", "a"), password("one", "for x.test"));
    let expected = Secret::new("for https://index.docker.io/v1/".to_owned());
    assert_eq!(home.find("docker.io", "library/a"), Some(Credentials::Refresh(expected)));
}

#[test]
fn a_helper_that_fails_is_told_and_the_search_goes_on() {
    let config = r#"{"credHelpers":{"x.test":"bad"},"auths":{"x.test":{"auth":"dTpw"}}}"#;
    for script in ["exit 3", "echo not json", "sleep 60", "exec yes secret", "exec >&- 2>&-; sleep 60"] {
        let (found, notes) = Home::new(config).helper("bad", script).try_find("x.test", "a");
        assert_eq!(found.unwrap(), password("u", "p"), "{script}");
        assert_eq!(notes.len(), 1, "{script}: {notes:?}");
        assert!(!notes[0].contains("secret"), "{notes:?}");
    }
    let missing = Home::new(config).try_find("x.test", "a");
    assert!(missing.1[0].contains("docker-credential-bad is not in PATH"), "{:?}", missing.1);
    let nothing = Home::new(config).helper("bad", "echo credentials not found in native keychain; exit 1");
    assert_eq!(nothing.try_find("x.test", "a").1, Vec::<String>::new());
}

#[test]
fn a_helper_is_a_name_and_never_a_path() {
    let home = Home::new(r#"{"credsStore":"x/../../evil"}"#);
    let (found, notes) = home.try_find("x.test", "a");
    assert_eq!(found.unwrap(), None);
    assert!(notes[0].contains("is not the name of a credential helper"), "{notes:?}");
}

#[test]
fn broken_files_are_errors_that_quote_nothing() {
    let (found, _) = Home::new(r#"{"auths":{"x.test":{"auth":["hunter2"]}}}"#).try_find("x.test", "a");
    let error = found.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", password("user", "hunter2"));
    assert!(shown.contains("user") && !shown.contains("hunter2"), "{shown}");
}
