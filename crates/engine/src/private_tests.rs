use super::*;
use agentkernel_model::{
    image::ImageRef,
    policy::{EffectivePolicy, Profile},
    spec::{Isolation, Lifetime},
};
use tempfile::TempDir;

struct Bench {
    home: TempDir,
    host: Host,
}

fn bench() -> Bench {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join(".local/share/agentkernel");
    fs::create_dir_all(data.join("volumes/cache/data")).unwrap();
    fs::create_dir_all(data.join("sandboxes")).unwrap();
    let host = Host {
        data,
        exe: "/".into(),
        uid: 0,
        gid: 0,
        login: String::new(),
        surroundings: agentkernel_backend::Surroundings::default(),
    };
    Bench { home, host }
}

fn spec(workspace: Workspace, mounts: &[(&Path, &str)]) -> SandboxSpec {
    let mut policy = EffectivePolicy::of_profile(Profile::Moderate);
    let mount = |(source, target): &(&Path, &str)| Mount {
        source: (*source).to_owned(),
        target: target.parse().unwrap(),
        access: Access::ReadOnly,
    };
    policy.mounts = mounts.iter().map(mount).collect();
    SandboxSpec {
        image: ImageRef::Host,
        workspace,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

#[test]
fn what_holds_the_data_directory_is_shown_with_a_cover_over_it() {
    let Bench { home, host } = bench();
    let mut shown = spec(Workspace::View(home.path().join(".local")), &[(home.path(), "/home/user")]);
    cover(&host, &mut shown).unwrap();
    let covers: Vec<&str> = shown.policy.mounts[1..].iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(covers, ["/workspace/share/agentkernel", "/home/user/.local/share/agentkernel"]);
    assert!(shown.policy.mounts[1].source.read_dir().unwrap().next().is_none());
}

#[test]
fn nothing_of_the_data_directory_is_shown_but_volumes() {
    let Bench { home: _home, host } = bench();
    for (path, allowed) in [
        ("", false),
        ("sandboxes", false),
        ("volumes", false),
        ("volumes/cache", false),
        ("volumes/cache/data", true),
    ] {
        let source = host.data.join(path);
        let result = check(&host, &spec(Workspace::None, &[(&source, "/data")]));
        assert_eq!(result.is_ok(), allowed, "{path}");
        let workspace = Workspace::Direct { source, access: Access::ReadOnly };
        assert_eq!(check(&host, &spec(workspace, &[])).is_ok(), allowed, "{path} as the workspace");
    }
}

#[test]
fn links_to_it_are_seen_through_and_others_left_alone() {
    let Bench { home, host } = bench();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(&host.data, &link).unwrap();
    assert_eq!(check(&host, &spec(Workspace::None, &[(&link, "/data")])).unwrap_err().kind(), Kind::Denied);
    let other = tempfile::tempdir().unwrap();
    let mut plain = spec(Workspace::View(other.path().to_owned()), &[(other.path(), "/data")]);
    let before = plain.clone();
    cover(&host, &mut plain).unwrap();
    assert_eq!(plain, before);
}

#[test]
fn what_holds_it_is_never_written() {
    let Bench { home, host } = bench();
    let share = home.path().join(".local/share");
    for source in [home.path(), share.as_path()] {
        for (access, allowed) in [(Access::ReadOnly, true), (Access::ReadWrite, false)] {
            let mut mounted = spec(Workspace::None, &[(source, "/data")]);
            mounted.policy.mounts[0].access = access;
            assert_eq!(check(&host, &mounted).is_ok(), allowed, "{} {access:?}", source.display());
            let workspace = Workspace::Direct { source: source.to_owned(), access };
            assert_eq!(
                check(&host, &spec(workspace, &[])).is_ok(),
                allowed,
                "{} as the workspace",
                source.display()
            );
        }
    }
    // Beside it is not around it.
    fs::create_dir_all(home.path().join(".local/sharebox")).unwrap();
    let mut beside = spec(Workspace::None, &[(&home.path().join(".local/sharebox"), "/data")]);
    beside.policy.mounts[0].access = Access::ReadWrite;
    check(&host, &beside).unwrap();
}
