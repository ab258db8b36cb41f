use super::*;
use agentkernel_backend::{ImageDefaults, Owners};
use agentkernel_model::{
    command::{Argv, EnvVar},
    image::ImageRef,
    policy::{EffectivePolicy, Profile},
    spec::{Isolation, Lifetime},
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
    let none = Defaults::of(&spec(), &image()).unwrap();
    assert_eq!((none.workdir.as_str(), none.user), ("/app", NODE));
    let project = SandboxSpec { workspace: Workspace::View("/project".into()), ..spec() };
    assert_eq!(Defaults::of(&project, &image()).unwrap().workdir.as_str(), "/workspace");
    let chosen = SandboxSpec { workdir: Some("/tmp".parse().unwrap()), user: Some(User::ROOT), ..project };
    let chosen = Defaults::of(&chosen, &image()).unwrap();
    assert_eq!((chosen.workdir.as_str(), chosen.user), ("/tmp", User::ROOT));
    let bare = Rootfs { defaults: ImageDefaults::default(), ..image() };
    let bare = Defaults::of(&spec(), &bare).unwrap();
    assert_eq!((bare.workdir.as_str(), bare.user), ("/", User::ROOT));
}

#[test]
fn home_is_that_of_the_user() {
    let of_image = Defaults::of(&spec(), &image()).unwrap();
    assert_eq!(home(&of_image, None), "/home/node");
    assert_eq!(home(&of_image, Some(User { uid: 1000, gid: 7 })), "/home/node");
    assert_eq!(home(&of_image, Some(User::ROOT)), "/root");
    assert_eq!(home(&of_image, Some(User { uid: 33, gid: 33 })), "/home/user");
    let env = vec![EnvVar::new("HOME", "/mine").unwrap()];
    let chosen = Defaults::of(&SandboxSpec { env, ..spec() }, &image()).unwrap();
    assert_eq!(
        (home(&chosen, None), home(&chosen, Some(User::ROOT))),
        ("/mine".to_owned(), "/mine".to_owned())
    );
    let silent = Rootfs { env: Vec::new(), ..image() };
    let silent = Defaults::of(&spec(), &silent).unwrap();
    assert_eq!(
        (home(&silent, None), home(&silent, Some(User::ROOT))),
        ("/home/user".to_owned(), "/root".to_owned())
    );
}
