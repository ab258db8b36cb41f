//! From a spec to a text and back: nothing is lost.

use super::*;
use crate::ingredients::Surroundings;
use agentkernel_model::{
    command::User,
    egress::{EgressRule, EgressRules, Otherwise},
    image::ImageRef,
    mount::VolumeArg,
    policy::{PolicyRequest, RootAccess},
    port::PublishedPort,
    seccomp::SeccompLevel,
    secret::SecretName,
    size::{ByteSize, Cpus},
    spec::{Isolation, Lifetime},
};
use proptest::{option, prelude::*, sample::select};

/// The spec that a configuration with explicit everything comes to; what the command line does, without flags.
fn back(text: &str, home: Option<&Path>) -> (SandboxSpec, Config) {
    let config = Config::parse("f", text).unwrap();
    let ingredients = config.ingredients(Path::new("/")).unwrap();
    let mounts = ingredients.volumes.iter().map(|volume| match volume {
        VolumeArg::Host(mount) => mount.clone(),
        VolumeArg::Managed { .. } => panic!("an exported mount is a path"),
    });
    let around = Surroundings {
        image: ingredients.image.clone().unwrap(),
        workspace: ingredients.workspace.named(Path::new("/"), Profile::Moderate).unwrap(),
        mounts: mounts.collect(),
        home: home.map(Path::to_owned),
        locale: Vec::new(),
        lifetime: Lifetime::Named,
    };
    (ingredients.into_spec(around).unwrap(), config)
}

/// Any text without NUL: quotes, line feeds, control characters, and characters of several bytes.
fn texts(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            select(vec![
                '"', '\\', '\'', '\n', '\r', '\t', '\u{7f}', '\u{1b}', '#', '=', 'ü', '\u{202e}', '🦀', ' '
            ]),
            any::<char>().prop_filter("not NUL", |c| *c != '\0'),
            prop::char::range('a', 'z'),
        ],
        0..most,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn guest_paths() -> impl Strategy<Value = agentkernel_model::path::GuestPath> {
    "/(srv|opt)(/[a-z\"' üé.]{1,6}x){0,2}".prop_map(|text| text.parse().unwrap())
}

/// A place where nothing is mounted.
fn below_etc(path: agentkernel_model::path::GuestPath) -> agentkernel_model::path::GuestPath {
    format!("/etc{path}").parse().unwrap()
}

fn host_paths() -> impl Strategy<Value = PathBuf> {
    "(/[a-zA-Z\"\\\\ ü:]{1,8}x){1,3}".prop_map(PathBuf::from)
}

fn access() -> impl Strategy<Value = Access> {
    select(vec![Access::ReadOnly, Access::ReadWrite])
}

fn workspaces() -> impl Strategy<Value = Workspace> {
    prop_oneof![
        Just(Workspace::None),
        host_paths().prop_map(Workspace::View),
        (host_paths(), access()).prop_map(|(source, access)| Workspace::Direct { source, access }),
    ]
}

fn has_network(profile: Profile, network: Option<NetworkSwitch>) -> bool {
    network.map_or(profile != Profile::Restrictive, |switch| switch == NetworkSwitch::On)
}

/// Secrets of the vault, each name once, and files.
fn grants() -> impl Strategy<Value = (Vec<SecretGrant>, Vec<SecretName>)> {
    let host = option::of(select(vec!["api.example.com", "*.example.org"]));
    let header = option::of(select(vec!["x-api-key", "authorization"]));
    let secrets = prop::collection::btree_map("[A-Z]{1,4}", (host, header), 0..3).prop_map(|all| {
        let grant = |(name, (host, header)): (String, (Option<&str>, Option<&str>))| SecretGrant {
            name: name.parse().unwrap(),
            held: Held::Vault,
            host: host.map(|host| host.parse().unwrap()),
            header: header.map(|header| header.parse().unwrap()),
        };
        all.into_iter().map(grant).collect()
    });
    let files = prop::collection::btree_set("[A-Z]{1,4}", 0..3);
    (secrets, files.prop_map(|names| names.iter().map(|name| name.parse().unwrap()).collect()))
}

fn rules() -> impl Strategy<Value = (Vec<EgressRule>, Option<Otherwise>)> {
    let one = select(vec![
        "allow api.example.com:443",
        "deny GET,POST *.example.com/v1",
        "allow 10.0.0.0/8:80-90",
        "deny [2001:db8::1]:1",
        "allow host",
    ]);
    let rules = prop::collection::vec(one.prop_map(|text| text.parse().unwrap()), 0..4);
    (rules, option::of(select(vec![Otherwise::Deny, Otherwise::Public])))
}

fn policies() -> impl Strategy<Value = EffectivePolicy> {
    let mounts = prop::collection::btree_map(guest_paths(), (host_paths(), access()), 0..4);
    (
        select(vec![Profile::Restrictive, Profile::Moderate, Profile::Permissive]),
        (option::of(select(vec![NetworkSwitch::On, NetworkSwitch::Off])), rules()),
        mounts,
        option::of(4_194_304_u64..1 << 44),
        option::of(10_u32..1_024_000),
        option::of(1_u32..4_194_304),
        option::of(select(vec![SeccompLevel::Moderate, SeccompLevel::Restrictive])),
        option::of(Just(PathBuf::from("/home/ada"))),
        grants(),
    )
        .prop_map(
            |(
                profile,
                (network, (rules, otherwise)),
                mounts,
                memory,
                cpus,
                pids,
                seccomp,
                home,
                (secrets, secret_files),
            )| {
                let mounts =
                    mounts.into_iter().map(|(target, (source, access))| Mount { source, target, access });
                let mut policy = EffectivePolicy::resolve(PolicyRequest {
                    profile,
                    network,
                    rules,
                    otherwise,
                    mounts: mounts.collect(),
                    memory: memory.map(ByteSize::from_bytes),
                    cpus: cpus.map(Cpus::from_milli),
                    pids,
                    home: home.filter(|_| profile == Profile::Permissive),
                    secrets: if has_network(profile, network) { secrets } else { Vec::new() },
                    secret_files,
                });
                policy.seccomp = seccomp.unwrap_or(policy.seccomp);
                policy
            },
        )
}

fn envs() -> impl Strategy<Value = Vec<EnvVar>> {
    let keys = texts(6).prop_filter("a key", |key| !key.is_empty() && !key.contains('='));
    prop::collection::hash_map(keys, texts(20), 0..5)
        .prop_map(|all| all.iter().map(|(key, value)| EnvVar::new(key, value).unwrap()).collect())
}

fn files() -> impl Strategy<Value = Vec<SpecFile>> {
    let bytes =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..40), texts(40).prop_map(String::into_bytes)];
    prop::collection::btree_map(guest_paths().prop_map(below_etc), (0_u32..=0o777, bytes), 0..4).prop_map(
        |all| all.into_iter().map(|(target, (mode, content))| SpecFile { target, mode, content }).collect(),
    )
}

fn specs() -> impl Strategy<Value = SandboxSpec> {
    let ports = prop::collection::btree_map(1_u16.., 1_u16.., 0..4).prop_map(|all| {
        all.into_iter().map(|(host, guest)| PublishedPort { host, guest }).collect::<Vec<_>>()
    });
    let images = select(vec![
        "host",
        "python:3.12-alpine",
        "localhost:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ]);
    (
        (images, workspaces(), envs(), option::of(guest_paths())),
        (option::of((0_u32..=65_535, 0_u32..=65_535)), ports, policies()),
        (
            select(vec![Isolation::Any, Isolation::Vm]),
            files(),
            option::of(texts(80)),
            option::of("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"),
        ),
    )
        .prop_map(
            |(
                (image, workspace, env, workdir),
                (user, ports, policy),
                (isolation, files, script, runtime),
            )| {
                SandboxSpec {
                    image: image.parse().unwrap(),
                    workspace,
                    env,
                    workdir,
                    user: user.map(|(uid, gid)| User { uid, gid }),
                    ports,
                    policy,
                    isolation,
                    lifetime: Lifetime::Named,
                    files,
                    init_script: script,
                    runtime: runtime.map(|name| name.parse().unwrap()),
                }
            },
        )
}

fn metas() -> impl Strategy<Value = Meta> {
    (
        option::of("[a-z]{1,9}(-[a-z0-9]{1,9})?"),
        prop::collection::btree_map("[A-Za-z0-9._-]{1,9}", "[A-Za-z0-9._/-]{1,9}", 0..4),
        option::of(texts(30)),
        option::of(0_u64..3_000_000_000),
        option::of("[a-z][a-z0-9-]{0,9}"),
    )
        .prop_map(|(name, labels, description, ttl, backend)| Meta {
            name: name.map(|name| name.parse().unwrap()),
            labels: labels.iter().map(|(key, value)| Label::new(key, value).unwrap()).collect(),
            description,
            ttl: ttl.map(Duration::from_secs),
            backend,
            template: TemplateInfo::default(),
            home: Some(PathBuf::from("/home/ada")),
        })
}

/// As a built-in template gives them.
#[test]
fn sizes_that_are_not_the_profile_s_are_written() {
    let (mut spec, _) = back("sandbox.base_image = 'host'\nworkspace.mode = 'none'\n", None);
    let limits = &mut spec.policy.limits;
    (limits.memory, limits.pids) =
        (Some(Limit::Default(ByteSize::from_mib(2048))), Some(Limit::Default(512)));
    let text = to_toml(&spec, &Meta::default()).unwrap();
    let (again, _) = back(&text, None);
    let limits = &mut spec.policy.limits;
    (limits.memory, limits.pids) =
        (Some(Limit::Required(ByteSize::from_mib(2048))), Some(Limit::Required(512)));
    assert_eq!(again, spec, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn nothing_is_lost(spec in specs(), meta in metas()) {
        let text = to_toml(&spec, &meta).unwrap();
        let granted = spec.policy.mounts.first().is_some_and(|mount| mount.target.as_str() == "/home/user");
        let (again, config) = back(&text, meta.home.as_deref().filter(|_| granted));
        prop_assert_eq!(&again, &spec, "{}", text);
        prop_assert_eq!(config.name, meta.name);
        prop_assert_eq!(config.labels, meta.labels);
        prop_assert_eq!(config.description, meta.description);
        prop_assert_eq!(config.ttl, meta.ttl);
        prop_assert_eq!(config.backend, meta.backend);
    }
}

fn plain() -> SandboxSpec {
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::of_profile(Profile::Moderate),
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

#[test]
fn the_text_is_for_people() {
    let mut spec = plain();
    spec.init_script = Some("set -e\necho \"hi\"\n".to_owned());
    spec.env = vec![
        EnvVar::new("A B", "1").unwrap(),
        EnvVar::new("X", "old").unwrap(),
        EnvVar::new("X", "new").unwrap(),
    ];
    spec.policy.limits.memory = Some(Limit::Required("1GB".parse().unwrap()));
    spec.policy.limits.cpus = Some(Limit::Required("0.5".parse().unwrap()));
    spec.files = vec![
        SpecFile { target: "/etc/motd".parse().unwrap(), mode: 0o600, content: b"hello".to_vec() },
        SpecFile { target: "/bin/x".parse().unwrap(), mode: 0o644, content: vec![0, 255] },
    ];
    let meta = Meta {
        name: Some("web".parse().unwrap()),
        labels: vec![Label::new("team.x", "a/b").unwrap()],
        ttl: Some(Duration::from_secs(9000)),
        ..Meta::default()
    };
    assert_eq!(
        to_toml(&spec, &meta).unwrap(),
        r#"[sandbox]
name = "web"
base_image = "host"
init_script = """
set -e
echo \"hi\"
"""
isolation = "any"
ttl = "2h30m"
labels = { "team.x" = "a/b" }

[environment]
"A B" = "1"
X = "new"

[resources]
vcpus = 0.5
memory_mb = 1024

[security]
profile = "moderate"

[workspace]
mode = "none"

[[files]]
dest = "/etc/motd"
content = "hello"
mode = "0600"

[[files]]
dest = "/bin/x"
content_base64 = "AP8="
"#
    );
}

#[test]
fn what_keeps_a_writable_directory_is_left_out_because_it_comes_back() {
    let mut spec = plain();
    spec.workspace = Workspace::Direct { source: "/p".into(), access: Access::ReadWrite };
    let mount = |source: &str, target: &str, access| Mount {
        source: source.into(),
        target: target.parse().unwrap(),
        access,
    };
    let asked = [mount("/d", "/data", Access::ReadWrite), mount("/e", "/workspace/.envrc", Access::ReadOnly)];
    spec.policy.mounts = vec![
        mount("/p/.git", "/workspace/.git", Access::ReadWrite),
        mount("/p/.git/hooks", "/workspace/.git/hooks", Access::ReadOnly),
        asked[0].clone(),
        mount("/d/.envrc", "/data/.envrc", Access::ReadOnly),
        asked[1].clone(),
    ];
    let (again, _) = back(&to_toml(&spec, &Meta::default()).unwrap(), None);
    assert_eq!(again.policy.mounts, asked);
}

#[test]
fn what_no_configuration_comes_to_is_refused() {
    let changes: [fn(&mut EffectivePolicy); 4] = [
        |policy| policy.network = Network::Open,
        |policy| policy.root = RootAccess::ReadOnly,
        |policy| policy.caps = agentkernel_model::capset::CapSet::NONE,
        |policy| policy.limits.memory = None,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut spec = plain();
        change(&mut spec.policy);
        let error = to_toml(&spec, &Meta::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{index}");
    }
    let mut rules = plain();
    rules.policy.network = Network::Rules(EgressRules::default());
    to_toml(&rules, &Meta::default()).unwrap();
}

#[test]
fn values_that_no_file_may_have_are_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let mut spec = plain();
    spec.workspace = Workspace::View(PathBuf::from(OsStr::from_bytes(b"/\xff")));
    assert_eq!(to_toml(&spec, &Meta::default()).unwrap_err().kind(), Kind::Unsupported);
    let long = Meta { description: Some("x".repeat(1025)), ..Meta::default() };
    assert_eq!(to_toml(&plain(), &long).unwrap_err().kind(), Kind::Unsupported);
    let strange = Meta { backend: Some("A b".to_owned()), ..Meta::default() };
    assert_eq!(to_toml(&plain(), &strange).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn a_full_megabyte_of_files_fits() {
    let mut spec = plain();
    for (name, byte) in [("/a", 1_u8), ("/b", b'"')] {
        spec.files.push(SpecFile {
            target: name.parse().unwrap(),
            mode: 0o644,
            content: vec![byte; SpecFile::MAX_TOTAL / 2],
        });
    }
    let (again, _) = back(&to_toml(&spec, &Meta::default()).unwrap(), None);
    assert_eq!(again, spec);
}
