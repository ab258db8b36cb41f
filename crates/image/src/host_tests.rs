use super::*;
use std::fs;

fn shown(lease: &Lease) -> Vec<String> {
    lease.rootfs.grafts.iter().map(|g| g.source.display().to_string()).collect()
}

#[test]
fn shows_programs_and_never_accounts_keys_or_state() {
    let lease = host_rootfs(&HostFacts::default()).unwrap();
    let shown = shown(&lease);
    assert!(shown.contains(&"/usr".to_owned()), "{shown:?}");
    for secret in
        ["/etc", "/etc/shadow", "/etc/ssl", "/etc/ssl/private", "/run", "/var", "/home", "/root", "/"]
    {
        assert!(!shown.iter().any(|s| s == secret), "{secret} is shown");
    }
    assert!(lease.rootfs.files.iter().any(|f| f.target.as_str() == "/etc/passwd"));
}

#[test]
fn shows_toolchains_of_path_and_nothing_else_of_the_home() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for dir in [".cargo/bin", ".cargo/registry", ".rustup/toolchains", ".ssh", ".pyenv/shims"] {
        fs::create_dir_all(home.join(dir)).unwrap();
    }
    fs::write(home.join(".rustup/settings.toml"), "").unwrap();
    fs::write(home.join(".cargo/credentials.toml"), "secret").unwrap();
    let facts =
        HostFacts { path: vec![home.join(".cargo/bin"), home.join("bin")], home: Some(home.to_owned()) };
    let lease = host_rootfs(&facts).unwrap();
    let below: Vec<String> =
        shown(&lease).into_iter().filter(|s| s.starts_with(home.to_str().unwrap())).collect();
    let expected: Vec<String> = [".cargo/bin", ".rustup/toolchains", ".rustup/settings.toml"]
        .iter()
        .map(|p| home.join(p).display().to_string())
        .collect();
    assert_eq!(below, expected, "pyenv is not on PATH, so it stays outside as well");
    let path = &lease.rootfs.env.iter().find(|(k, _)| k == "PATH").unwrap().1;
    assert!(path.starts_with(home.join(".cargo/bin").to_str().unwrap()), "{path}");
    assert!(!path.contains(home.join("bin").to_str().unwrap()), "{path}");
}

#[test]
fn a_link_to_a_toolchain_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), home.path().join(".pyenv")).unwrap();
    let facts =
        HostFacts { path: vec![home.path().join(".pyenv/shims")], home: Some(home.path().to_owned()) };
    let lease = host_rootfs(&facts).unwrap();
    assert!(!shown(&lease).iter().any(|s| s.contains("pyenv")));
}

#[test]
fn its_users_have_numbers() {
    let user = |name| host_user(name).map(|user| user.to_string());
    assert_eq!(user("user").unwrap(), "1000:1000");
    assert_eq!(user("user:tty").unwrap(), "1000:5");
    assert_eq!(user("nobody:7").unwrap(), "65534:7");
    for name in ["", "ada", "user:nogroups", "x:"] {
        assert!(user(name).is_err(), "{name}");
    }
}
