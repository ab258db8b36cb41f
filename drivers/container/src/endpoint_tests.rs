use super::*;
use agentkernel_backend::Surroundings;
use std::os::unix::net::UnixListener;

fn host(home: &Path, variables: &[(&str, &str)]) -> Host {
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let surroundings = Surroundings {
        home: Some(home.to_owned()),
        runtime_dir: Some(home.join("run")),
        path: vec![home.join("bin")],
        variables,
        open_files: None,
    };
    Host {
        data: home.join("data"),
        exe: "/nowhere".into(),
        uid: 1000,
        gid: 1000,
        login: "ada".to_owned(),
        surroundings,
    }
}

#[test]
fn what_the_environment_says_comes_first() {
    let dir = tempfile::tempdir().unwrap();
    let named = host(dir.path(), &[("DOCKER_HOST", "unix:///x/y.sock"), ("CONTAINER_HOST", "ssh://a@b/c")]);
    assert_eq!(docker(&named), Endpoint::Socket("/x/y.sock".into()));
    assert!(matches!(podman(&named), Endpoint::Remote(there) if there.to_string() == "ssh://a@b/c"));
    let empty = host(dir.path(), &[("DOCKER_HOST", "")]);
    assert!(!matches!(docker(&empty), Endpoint::Remote(_) | Endpoint::Refused(_)));
    let tls = [("DOCKER_HOST", "tcp://far:1"), ("DOCKER_TLS_VERIFY", "1")];
    let Endpoint::Remote(Remote::Tls { material, .. }) = docker(&host(dir.path(), &tls)) else {
        panic!("no TLS")
    };
    assert_eq!(material, dir.path().join(".docker"));
    assert!(matches!(docker(&host(dir.path(), &tls[..1])), Endpoint::Refused(_)));
}

#[test]
fn a_context_is_found_by_the_hash_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let real: String = Sha256::digest(b"mine").iter().map(|b| format!("{b:02x}")).collect();
    let place = dir.path().join(".docker/contexts/meta").join(&real);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("meta.json"), r#"{"Name":"mine","Endpoints":{"docker":{"Host":"unix:///c.sock"}}}"#)
        .unwrap();
    let by_variable = host(dir.path(), &[("DOCKER_CONTEXT", "mine")]);
    assert_eq!(docker(&by_variable), Endpoint::Socket("/c.sock".into()));
    fs::write(dir.path().join(".docker/config.json"), r#"{"currentContext":"mine"}"#).unwrap();
    assert_eq!(docker(&host(dir.path(), &[])), Endpoint::Socket("/c.sock".into()));
    let about = |text: &str| fs::write(place.join("meta.json"), text).unwrap();
    about(r#"{"Endpoints":{"docker":{"Host":"tcp://far:1"}}}"#);
    assert!(matches!(docker(&by_variable), Endpoint::Refused(_)), "there is no certificate");
    fs::create_dir_all(dir.path().join(".docker/contexts/tls").join(&real).join("docker")).unwrap();
    assert!(matches!(docker(&by_variable), Endpoint::Remote(Remote::Tls { .. })));
    about(r#"{"Endpoints":{"docker":{"Host":"tcp://far:1","SkipTLSVerify":true}}}"#);
    assert!(matches!(docker(&by_variable), Endpoint::Refused(_)), "nobody is verified");
    about("{");
    assert!(matches!(docker(&by_variable), Endpoint::Refused(_)), "not another engine in its place");
    let other = host(dir.path(), &[("DOCKER_CONTEXT", "default")]);
    assert_ne!(docker(&other), Endpoint::Socket("/c.sock".into()));
}

#[test]
fn a_users_own_socket_comes_before_the_systems() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/docker.sock");
    fs::create_dir_all(dir.path().join("run/podman")).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_eq!(docker(&host(dir.path(), &[])), Endpoint::Socket(socket));
    assert!(matches!(podman(&host(dir.path(), &[])), Endpoint::Nowhere { .. }));
    fs::create_dir(dir.path().join("bin")).unwrap();
    let program = dir.path().join("bin/podman");
    fs::write(&program, "").unwrap();
    assert!(matches!(podman(&host(dir.path(), &[])), Endpoint::Nowhere { .. }), "it cannot be executed");
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(podman(&host(dir.path(), &[])), Endpoint::Service { program });
}
