use super::*;
use agentkernel_backend::{ImageDefaults, rootfs::Rootfs};
use agentkernel_model::{
    command::{Argv, EnvVar},
    image::ImageRef,
    policy::{EffectivePolicy, Profile},
    spec::Isolation,
};

const NODE: User = User { uid: 1000, gid: 1000 };

fn spec() -> SandboxSpec {
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::of_profile(Profile::Moderate),
        isolation: Isolation::Any,
        lifetime: Lifetime::Ephemeral,
        files: Vec::new(),
        init_script: None,
    }
}

fn image() -> Rootfs {
    Rootfs {
        identity: "test".to_owned(),
        layers: vec!["/layers/top".into(), "/layers/bottom".into()],
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: vec![("PATH".to_owned(), "/bin".to_owned()), ("HOME".to_owned(), "/home/node".to_owned())],
        defaults: ImageDefaults {
            workdir: Some("/app".parse().unwrap()),
            user: Some(NODE),
            entrypoint: Vec::new(),
        },
        owners: Owners::Single,
    }
}

fn disk(history: History) -> Disk {
    Disk {
        root: "/data/root".into(),
        history,
        layers: "/data/layers".into(),
        overlay_upper: OverlayUpper::Possible,
    }
}

fn home(defaults: &Defaults, user: Option<User>) -> String {
    let words = vec!["true".to_owned()];
    let exec = ExecSpec {
        argv: Argv::new(words).unwrap(),
        env: Vec::new(),
        workdir: None,
        user,
        stdio: Stdio::NoInput,
    };
    let env = defaults.command(&exec).env;
    let homes: Vec<_> = env.iter().filter_map(|pair| pair.strip_prefix("HOME=")).collect();
    assert_eq!(homes.len(), 1, "{env:?}");
    homes[0].to_owned()
}

#[test]
fn the_image_decides_where_nobody_else_does() {
    let none = defaults(&spec(), &image()).unwrap();
    assert_eq!((none.workdir.as_str(), none.user), ("/app", NODE));
    let project = SandboxSpec { workspace: Workspace::View("/project".into()), ..spec() };
    assert_eq!(defaults(&project, &image()).unwrap().workdir.as_str(), "/workspace");
    let chosen = SandboxSpec { workdir: Some("/tmp".parse().unwrap()), user: Some(User::ROOT), ..project };
    let chosen = defaults(&chosen, &image()).unwrap();
    assert_eq!((chosen.workdir.as_str(), chosen.user), ("/tmp", User::ROOT));
    let bare = Rootfs { defaults: ImageDefaults::default(), ..image() };
    let bare = defaults(&spec(), &bare).unwrap();
    assert_eq!((bare.workdir.as_str(), bare.user), ("/", User::ROOT));
}

#[test]
fn home_is_that_of_the_user() {
    let of_image = defaults(&spec(), &image()).unwrap();
    assert_eq!(home(&of_image, None), "/home/node");
    assert_eq!(home(&of_image, Some(User { uid: 1000, gid: 7 })), "/home/node");
    assert_eq!(home(&of_image, Some(User::ROOT)), "/root");
    assert_eq!(home(&of_image, Some(User { uid: 33, gid: 33 })), "/home/user");
    let env = vec![EnvVar::new("HOME", "/mine").unwrap()];
    let chosen = defaults(&SandboxSpec { env, ..spec() }, &image()).unwrap();
    assert_eq!(
        (home(&chosen, None), home(&chosen, Some(User::ROOT))),
        ("/mine".to_owned(), "/mine".to_owned())
    );
    let silent = Rootfs { env: Vec::new(), ..image() };
    let silent = defaults(&spec(), &silent).unwrap();
    assert_eq!(
        (home(&silent, None), home(&silent, Some(User::ROOT))),
        ("/home/user".to_owned(), "/root".to_owned())
    );
}

#[test]
fn an_image_with_a_user_needs_its_id() {
    assert_eq!(need(&spec(), None, &image()), Need::Many);
    assert_eq!(need(&spec(), Some(User::ROOT), &image()), Need::One);
    let root = Rootfs { defaults: ImageDefaults::default(), ..image() };
    assert_eq!(need(&spec(), None, &root), Need::One);
}

#[test]
fn what_is_written_above_layers_lasts_where_something_can_be_written() {
    let named = SandboxSpec { lifetime: Lifetime::Named, ..spec() };
    let mut closed = named.clone();
    closed.policy = EffectivePolicy::of_profile(Profile::Restrictive);
    let upper = |spec: &SandboxSpec| match Base::new(spec, &image(), &disk(History::Used)) {
        Base::Layers { below, upper, history } => {
            assert_eq!(below, image().layers);
            (upper, history)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(upper(&spec()), (LayerStore::Memory, History::New));
    assert_eq!(upper(&closed), (LayerStore::Memory, History::New));
    assert_eq!(upper(&named), (LayerStore::Disk("/data/layers/root".into()), History::Used));
    let host = Rootfs { layers: Vec::new(), ..image() };
    assert!(matches!(Base::new(&spec(), &host, &disk(History::New)), Base::Memory));
    assert!(matches!(Base::new(&closed, &host, &disk(History::New)), Base::Disk { .. }));
}

#[test]
fn archives_make_no_file_of_another_user_where_the_host_sees_it() {
    let shifted = IdMap::Shifted { base: 100_000 };
    let single = IdMap::Single { uid: 1000, gid: 1000 };
    assert_eq!(ownership(&shifted, HostFiles::ReadOnly), Ownership::Archive);
    assert_eq!(ownership(&shifted, HostFiles::Writable), Ownership::ArchivePlain);
    assert_eq!(ownership(&single, HostFiles::ReadOnly), Ownership::Caller);
    let few = IdMap::Subordinate { uid: 1000, gid: 1000, sub_uid: 1, sub_gid: 1, count: 100 };
    assert_eq!(ownership(&few, HostFiles::ReadOnly), Ownership::Caller);
}
