//! From a configuration to a spec.

use super::*;
use agentkernel_model::{mount::Access, policy::Network};

fn ingredients(text: &str) -> Ingredients {
    Config::parse("f", text).unwrap().ingredients(Path::new("/base")).unwrap()
}

fn around() -> Surroundings {
    Surroundings {
        image: ImageRef::Host,
        workspace: Workspace::None,
        mounts: Vec::new(),
        home: None,
        locale: vec![EnvVar::new("LANG", "C").unwrap()],
        lifetime: Lifetime::Named,
    }
}

fn pairs(env: &[EnvVar]) -> Vec<String> {
    env.iter().map(|variable| format!("{}={}", variable.key(), variable.value())).collect()
}

#[test]
fn the_author_becomes_settings_of_git_behind_those_that_are_there() {
    let author = "agent = { git_name = 'Ada', git_email = 'a@b' }\n";
    assert_eq!(
        pairs(&ingredients(author).env),
        [
            "GIT_CONFIG_COUNT=2",
            "GIT_CONFIG_KEY_0=user.name",
            "GIT_CONFIG_VALUE_0=Ada",
            "GIT_CONFIG_KEY_1=user.email",
            "GIT_CONFIG_VALUE_1=a@b"
        ]
    );
    let own = "[environment]\nB = '1'\nGIT_CONFIG_COUNT = '1'\nGIT_CONFIG_KEY_0 = 'core.pager'\nGIT_CONFIG_VALUE_0 = 'cat'\nA = '2'";
    let env = pairs(&ingredients(&format!("{author}{own}")).env);
    assert_eq!(env[..3], ["B=1", "GIT_CONFIG_KEY_0=core.pager", "GIT_CONFIG_VALUE_0=cat"]);
    assert_eq!(env[3..6], ["A=2", "GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_1=user.name"]);
    let bad = Config::parse("f", &format!("{author}environment.GIT_CONFIG_COUNT = 'x'")).unwrap();
    assert!(
        bad.ingredients(Path::new("/"))
            .unwrap_err()
            .to_string()
            .contains("environment.GIT_CONFIG_COUNT is 'x'")
    );
}

#[test]
fn explicit_values_win_over_the_profile() {
    let text =
        "security = { profile = 'restrictive', network = true, seccomp = 'moderate' }\nresources.pids = 7";
    let policy = ingredients(text).policy(Vec::new(), None);
    assert_eq!(policy.seccomp, SeccompLevel::Moderate);
    assert!(matches!(policy.network, Network::Rules(_)));
    assert_eq!(policy.limits.pids.map(|limit| (limit.value(), limit.is_required())), Some((7, true)));
    assert_eq!(ingredients("").policy(Vec::new(), None), EffectivePolicy::of_profile(Profile::Moderate));
}

#[test]
fn paths_are_taken_from_the_directory_of_the_file() {
    let text = "[[mounts]]\nsource = './data'\ntarget = '/a'\nread_only = true\n[[mounts]]\nsource = '/abs'\ntarget = '/b'\n\
                [[mounts]]\nsource = 'cache'\ntarget = '/c'";
    let volumes = ingredients(text).volumes;
    let host = |source: &str, target: &str, access| {
        VolumeArg::Host(Mount { source: source.into(), target: target.parse().unwrap(), access })
    };
    assert_eq!(volumes[0], host("/base/./data", "/a", Access::ReadOnly));
    assert_eq!(volumes[1], host("/abs", "/b", Access::ReadWrite));
    assert!(matches!(&volumes[2], VolumeArg::Managed { name, .. } if name.as_str() == "cache"));

    let request = ingredients("workspace.path = 'sub'").workspace;
    let direct = Workspace::Direct { source: "/base/sub".into(), access: Access::ReadWrite };
    assert_eq!(request.named(Path::new("/base"), Profile::Moderate), Some(direct));
    let view = Workspace::View("/base/sub".into());
    assert_eq!(request.named(Path::new("/base"), Profile::Restrictive), Some(view));
    assert_eq!(ingredients("workspace.mode = 'ro'").workspace.named(Path::new("/"), Profile::Moderate), None);
}

#[test]
fn sources_are_read_in_their_place_and_bounded_together() {
    let text = "[[files]]\ndest = '/a'\nsource = 'x'\nmode = '0755'\n[[files]]\ndest = '/b'\ncontent = 'two'";
    let forgotten = ingredients(text).into_spec(around()).unwrap_err();
    assert_eq!(forgotten.kind(), Kind::Internal);

    let mut all = ingredients(text);
    all.read_sources(|path| Ok(format!("of {path}").into_bytes())).unwrap();
    let files = all.into_spec(around()).unwrap().files;
    assert_eq!((files[0].target.as_str(), files[0].mode, &files[0].content[..]), ("/a", 0o755, &b"of x"[..]));
    assert_eq!((files[1].mode, &files[1].content[..]), (0o644, &b"two"[..]));

    for size in [SpecFile::MAX_TOTAL - 2, SpecFile::MAX_TOTAL + 1] {
        let error = ingredients(text).read_sources(|_| Ok(vec![0; size])).unwrap_err();
        assert_eq!(error.to_string(), "the files of a sandbox are more than 1 MiB together");
    }
    ingredients(text).read_sources(|_| Ok(vec![0; SpecFile::MAX_TOTAL - 3])).unwrap();
}

#[test]
fn a_user_by_name_is_refused_until_somebody_looked_it_up() {
    let error = ingredients("sandbox.user = 'node'").into_spec(around()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    let spec = ingredients("sandbox.user = 1000").into_spec(around()).unwrap();
    assert_eq!(spec.user, Some(User { uid: 1000, gid: 1000 }));
}

#[test]
fn the_locale_comes_with_the_profile_and_the_file_wins_over_it() {
    let env = |text| pairs(&ingredients(text).into_spec(around()).unwrap().env);
    assert_eq!(env("environment.LANG = 'de'"), ["LANG=de"]);
    assert_eq!(env("environment.LANG = 'de'\nsecurity.profile = 'permissive'"), ["LANG=C", "LANG=de"]);
}

#[test]
fn no_file_is_written_through_a_mount() {
    let mount = Mount { source: "/h".into(), target: "/data".parse().unwrap(), access: Access::ReadWrite };
    let direct = Workspace::Direct { source: "/p".into(), access: Access::ReadWrite };
    for (dest, workspace, fits) in [
        ("/data", Workspace::None, false),
        ("/data/a", Workspace::None, false),
        ("/database", Workspace::None, true),
        ("/workspace/.envrc", direct.clone(), false),
        ("/workspaces", direct, true),
        ("/workspace/.envrc", Workspace::View("/p".into()), true),
    ] {
        let around = Surroundings { workspace, mounts: vec![mount.clone()], ..around() };
        let spec = ingredients(&format!("[[files]]\ncontent = ''\ndest = '{dest}'")).into_spec(around);
        assert_eq!(spec.is_ok(), fits, "{dest}");
    }
}

#[test]
fn who_asks_for_the_project_writable() {
    for (text, expected) in [
        ("", None),
        ("workspace.mode = 'rw'", Some(true)),
        ("workspace.mode = 'ro'", None),
        ("workspace = { mode = 'rw', path = 'x' }", None),
        ("workspace.mode = 'rw'\nsecurity.mount_cwd = false", Some(false)),
    ] {
        assert_eq!(ingredients(text).mounts_cwd(), expected, "{text}");
    }
}

#[test]
fn ports_are_published_once() {
    let ports = |text| ingredients(text).into_spec(around()).map(|spec| spec.ports.len());
    assert_eq!(ports("network.ports = [80, '80:80', '0:1', '0:2']").unwrap(), 3);
    assert!(ports("network.ports = [80, '80:81']").is_err());
}
