use super::*;
use agentkernel_backend::{Lease, Owners, rootfs::Layer};
use agentkernel_image::HostFacts;
use agentkernel_model::{
    command::{EnvVar, User},
    mount::Workspace,
    policy::{EffectivePolicy, PolicyRequest, Profile},
    spec::{Isolation, Lifetime},
};

fn host(data: &Path) -> Host {
    Host {
        data: data.to_owned(),
        exe: "/bin/agentkernel".into(),
        uid: 0,
        gid: 0,
        login: "tester".to_owned(),
        surroundings: Surroundings::default(),
    }
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        image: agentkernel_model::image::ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::resolve(PolicyRequest::default()),
        isolation: Isolation::Any,
        lifetime: Lifetime::Ephemeral,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

fn rootfs(file: &Path) -> Rootfs {
    Rootfs {
        identity: "host".to_owned(),
        layers: Vec::new(),
        grafts: vec![Graft {
            source: file.to_owned(),
            target: "/etc/file".parse().unwrap(),
            layer: Layer::ReadOnly,
        }],
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: Vec::new(),
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    }
}

/// Everything that goes into a key.
struct Case {
    build: Build,
    host: Host,
    backend: &'static str,
    spec: SandboxSpec,
    rootfs: Rootfs,
    facts: HostFacts,
    files: Vec<PathBuf>,
}

impl Case {
    fn new(dir: &Path) -> Self {
        let file = dir.join("file");
        fs::write(&file, "one").unwrap();
        let host = host(dir);
        Self {
            build: Build::this(&host).unwrap(),
            host,
            backend: "one",
            spec: spec(),
            rootfs: rootfs(&file),
            facts: HostFacts::default(),
            files: vec![dir.join("resolv.conf")],
        }
    }

    fn key(&self) -> Key {
        let lease = Lease::unguarded(self.rootfs.clone());
        let recipe = Recipe::of(BackendId::new(self.backend), &self.spec, &lease, &self.facts);
        Key::of(&self.build, &self.host, &self.files, &recipe, &self.rootfs).unwrap()
    }
}

#[test]
fn what_a_run_can_tell_apart_has_another_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = Case::new(dir.path()).key();
    let mut keys = vec![key.clone()];
    type Change = fn(&mut Case);
    let changes: &[(&str, Change)] = &[
        ("build", |case| case.build.version = "another"),
        ("binary", |case| case.build.file.1 += 1),
        ("engine", |case| {
            let variable = ("ENGINE_HOST".to_owned(), "unix:///another".to_owned());
            case.host.surroundings.variables.extend([variable]);
        }),
        ("home", |case| case.host.surroundings.home = Some("/another".into())),
        ("backend", |case| case.backend = "two"),
        ("profile", |case| {
            let request = PolicyRequest { profile: Profile::Restrictive, ..PolicyRequest::default() };
            case.spec.policy = EffectivePolicy::resolve(request);
        }),
        ("settings of gateways", |case| {
            let file = case.host.data.join("gateway.toml");
            fs::write(&file, "resolvers = [\"127.0.0.1\"]").unwrap();
            case.files.push(file);
        }),
        ("user", |case| case.spec.user = Some(User { uid: 1000, gid: 1000 })),
        ("workdir", |case| case.spec.workdir = Some("/srv".parse().unwrap())),
        ("isolation", |case| case.spec.isolation = Isolation::Vm),
        ("image", |case| case.rootfs.identity = format!("sha256:{}", "0".repeat(64))),
        ("layers", |case| case.rootfs.layers.push("/layer".into())),
        ("graft's target", |case| case.rootfs.grafts[0].target = "/etc/other".parse().unwrap()),
        ("links", |case| case.rootfs.links.push(("/bin".parse().unwrap(), "usr/bin".to_owned()))),
        ("environment of the image", |case| case.rootfs.env.push(("A".to_owned(), "b".to_owned()))),
        ("entrypoint", |case| case.rootfs.defaults.entrypoint.push("tini".to_owned())),
        ("owners", |case| case.rootfs.owners = Owners::Many),
    ];
    for (what, change) in changes {
        let mut case = Case::new(dir.path());
        change(&mut case);
        let other = case.key();
        assert!(!keys.contains(&other), "{what} makes no difference");
        keys.push(other);
    }
    assert_eq!(Case::new(dir.path()).key(), key, "the same is the same");
}

#[test]
fn what_goes_with_the_command_makes_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let key = Case::new(dir.path()).key();
    let mut case = Case::new(dir.path());
    case.spec.env.push(EnvVar::new("TOKEN", "secret").unwrap());
    // Another shell, another PATH: what it leads to inside is in the root.
    case.host.surroundings.path = vec!["/another/bin".into()];
    case.facts.path = vec!["/another/bin".into()];
    // Another login, another agent of ssh.
    let keys = ("SSH_AUTH_SOCK".to_owned(), "/tmp/ssh-1/agent.1".to_owned());
    case.host.surroundings.variables.extend([keys]);
    assert_eq!(case.key(), key);
}

#[test]
fn a_file_that_was_replaced_is_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let case = Case::new(dir.path());
    let key = case.key();
    let new = dir.path().join("new");
    fs::write(&new, "one").unwrap();
    // Whoever shows it keeps the old one.
    let shown = fs::File::open(dir.path().join("file")).unwrap();
    fs::rename(&new, dir.path().join("file")).unwrap();
    assert_ne!(case.key(), key);
    drop(shown);
    fs::remove_file(dir.path().join("file")).unwrap();
    let lease = Lease::unguarded(case.rootfs.clone());
    let recipe = Recipe::of(BackendId::new("one"), &case.spec, &lease, &case.facts);
    assert!(Key::of(&case.build, &case.host, &[], &recipe, &case.rootfs).is_err());
}

#[test]
fn a_key_is_64_digits() {
    for (text, is_one) in [
        ("0".repeat(64), true),
        ("0123456789abcdef".repeat(4), true),
        ("0".repeat(63), false),
        ("0".repeat(65), false),
        ("F".repeat(64), false),
        (format!("../{}", "0".repeat(61)), false),
        (String::new(), false),
    ] {
        assert_eq!(Key::try_from(text.clone()).is_ok(), is_one, "{text}");
    }
}
