use super::*;
use agentkernel_model::{
    command::{Argv, EnvVar, Stdio, User},
    image::{Digest, ImageRef},
    mount::{Access, Mount, Workspace},
    path::GuestPath,
    policy::{EffectivePolicy, Profile},
    port::PublishedPort,
    secret::SecretName,
    spec::{Isolation, Lifetime, SpecFile},
};
use proptest::prelude::*;
use std::os::unix::ffi::OsStrExt as _;

/// Any text that may stand in an argument.
fn word() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..24)
        .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect())
}

fn guest_path() -> impl Strategy<Value = GuestPath> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b.c", "d e", "é"]), 1..4)
        .prop_map(|parts| format!("/{}", parts.join("/")).parse().unwrap())
}

fn env() -> impl Strategy<Value = Vec<EnvVar>> {
    let var = word().prop_map(|value| EnvVar::new("KEY", &value).unwrap());
    proptest::collection::vec(var, 0..4)
}

fn workspace() -> impl Strategy<Value = Workspace> {
    prop_oneof![
        Just(Workspace::None),
        guest_path().prop_map(|path| Workspace::View(path.as_str().into())),
        guest_path()
            .prop_map(|path| Workspace::Direct { source: path.as_str().into(), access: Access::ReadWrite }),
    ]
}

fn policy() -> impl Strategy<Value = EffectivePolicy> {
    let profiles = vec![Profile::Restrictive, Profile::Moderate, Profile::Permissive];
    let mounts = proptest::collection::vec(guest_path(), 0..3);
    (proptest::sample::select(profiles), mounts, any::<bool>()).prop_map(|(profile, targets, secret)| {
        let mount = |target: GuestPath| Mount { source: "/data".into(), target, access: Access::ReadOnly };
        let mut policy = EffectivePolicy::of_profile(profile);
        policy.mounts.extend(targets.into_iter().map(mount));
        let name: SecretName = "API_KEY".parse().unwrap();
        policy.secret_files.extend(secret.then_some(name));
        policy
    })
}

fn image() -> impl Strategy<Value = ImageRef> {
    let digest = || Digest::of_sha256(&[7; 32]);
    prop_oneof![
        Just(ImageRef::Host),
        Just("python:3.12".parse().unwrap()),
        Just(format!("example.com/a/b@{}", digest()).parse().unwrap()),
    ]
}

fn spec() -> impl Strategy<Value = SandboxSpec> {
    let file = (guest_path(), 0..0o1000_u32, proptest::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(target, mode, content)| SpecFile { target, mode, content });
    let who = proptest::option::of((0..70_000_u32).prop_map(|id| User { uid: id, gid: id }));
    let ports = proptest::collection::vec(any::<(u16, u16)>(), 0..3).prop_map(|pairs| {
        pairs.into_iter().map(|(host, guest)| PublishedPort { host, guest: guest.max(1) }).collect::<Vec<_>>()
    });
    let run = (proptest::option::of(word()), proptest::collection::vec(file, 0..3), any::<bool>());
    let place = (image(), workspace(), env(), proptest::option::of(guest_path()));
    (place, who, ports, policy(), run).prop_map(
        |((image, workspace, env, workdir), user, ports, policy, (init_script, files, strong))| SandboxSpec {
            image,
            workspace,
            env,
            workdir,
            user,
            ports,
            policy,
            isolation: if strong { Isolation::Vm } else { Isolation::Any },
            lifetime: Lifetime::Ephemeral,
            files,
            init_script,
            runtime: strong.then(|| "runsc".parse().unwrap()),
        },
    )
}

fn command() -> impl Strategy<Value = ExecSpec> {
    let size = any::<(u16, u16)>().prop_map(|(rows, columns)| TerminalSize { rows, columns });
    let stdio = prop_oneof![Just(Stdio::NoInput), Just(Stdio::Pipes), size.prop_map(Stdio::Terminal)];
    let words = proptest::collection::vec(word(), 0..6);
    (words, env(), proptest::option::of(guest_path()), stdio).prop_map(|(words, env, workdir, stdio)| {
        let argv = Argv::new(std::iter::once("program".to_owned()).chain(words).collect()).unwrap();
        ExecSpec { argv, env, workdir, user: None, stdio }
    })
}

proptest! {
    /// A runner does what was asked for, and nothing else.
    #[test]
    fn a_run_reads_as_it_was_written(spec in spec(), command in command(), backend in proptest::option::of(word())) {
        let work = Work { spec, command, backend, pool: Pool::Avoid, asked: None };
        let text = serde_json::to_vec(&Order::Run(Box::new(work.clone()))).unwrap();
        match serde_json::from_slice(&text).unwrap() {
            Order::Run(read) => prop_assert_eq!(*read, work),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

fn engine(home: &[u8]) -> Engine {
    let home = PathBuf::from(std::ffi::OsStr::from_bytes(home));
    let host = Host {
        data: home.join("data"),
        exe: "/usr/bin/agentkernel".into(),
        uid: 1000,
        gid: 1001,
        login: "someone".to_owned(),
        surroundings: Surroundings {
            home: Some(home.clone()),
            runtime_dir: None,
            path: vec!["/usr/bin".into(), home.join("bin")],
            variables: [("DOCKER_HOST".to_owned(), "unix:///run/x".to_owned())].into(),
            open_files: getrlimit(Resource::Nofile).current,
        },
    };
    let facts = HostFacts { path: vec![home.join("bin")], home: Some(home.clone()) };
    Engine::new(host, Registry::default(), facts).with_gateway_file(Some(home.join("gateway.toml")))
}

/// Paths of this machine need not be text.
#[test]
fn a_runner_has_the_engine_that_it_was_started_for() {
    for home in [&b"/home/someone"[..], b"/home/\xff\xfe"] {
        let setup = Setup::of(&engine(home));
        let text = serde_json::to_vec(&setup).unwrap();
        let theirs = serde_json::from_slice::<Setup>(&text).unwrap().engine(Registry::default()).unwrap();
        assert_eq!(Setup::of(&theirs), setup);
    }
}

#[test]
fn a_runner_of_another_version_says_so() {
    let setup = Setup { version: VERSION + 1, ..Setup::of(&engine(b"/home")) };
    let error = setup.engine(Registry::default()).unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Conflict, Some("start the server again")));
}
