use super::*;
use agentkernel_backend::{ImageDefaults, rootfs::Rootfs};
use agentkernel_model::{
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
        runtime: None,
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
