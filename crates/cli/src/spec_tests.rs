use super::*;
use agentkernel_model::{
    command::EnvVar,
    egress::EgressRules,
    image::ImageRef,
    limits::Limit,
    policy::{EffectivePolicy, Network, Profile, RootAccess},
    size::{ByteSize, Cpus},
    spec::Isolation,
};
use clap::Parser;
use std::path::PathBuf;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    sandbox: SandboxArgs,
}

fn flags_of(args: &str) -> SandboxArgs {
    Flags::try_parse_from(std::iter::once("x").chain(args.split_whitespace())).unwrap().sandbox
}

/// An engine without any sandbox or volume.
fn engine() -> Engine {
    let host = agentkernel_backend::Host {
        data: "/nonexistent".into(),
        exe: "/nonexistent".into(),
        uid: 1000,
        gid: 1000,
        login: "ada".to_owned(),
        surroundings: agentkernel_backend::Surroundings::default(),
    };
    Engine::new(host, crate::backends::registry(), agentkernel_image::HostFacts::default())
}

fn try_spec(args: &str, config: &str) -> Result<SandboxSpec> {
    let flags = flags_of(args);
    let mut ingredients = Config::parse("f", config)?.ingredients(Path::new("/"))?;
    lay_flags_over(&mut ingredients, &flags);
    let mounts = mounts(&engine(), &flags.volume, &ingredients.volumes, Path::new("/"))?;
    ingredients.into_spec(Surroundings {
        image: ImageRef::Host,
        workspace: Workspace::None,
        mounts,
        home: Some(PathBuf::from("/home/ada")),
        locale: vec![EnvVar::new("LANG", "C.UTF-8").unwrap()],
        lifetime: Lifetime::Ephemeral,
    })
}

fn spec_of(args: &str, config: &str) -> SandboxSpec {
    try_spec(args, config).unwrap()
}

#[test]
fn nothing_said_is_moderate() {
    let spec = spec_of("", "");
    assert_eq!(spec.policy, EffectivePolicy::of_profile(Profile::Moderate));
    assert_eq!((spec.env.len(), spec.workdir, spec.user, spec.isolation), (0, None, None, Isolation::Any));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_profile() {
    let file = "[security]\nprofile = 'restrictive'\n[resources]\nmemory_mb = 64\nvcpus = 2";
    let by_file = spec_of("", file).policy;
    assert_eq!((by_file.profile, by_file.root), (Profile::Restrictive, RootAccess::ReadOnly));
    assert_eq!(by_file.limits.memory, Some(Limit::Required(ByteSize::from_mib(64))));
    assert_eq!(by_file.limits.cpus, Some(Limit::Required(Cpus::from_whole(2))));

    let by_flag = spec_of("-p moderate --memory 1g --cpus 0.5", file).policy;
    assert_eq!(by_flag.profile, Profile::Moderate);
    assert_eq!(by_flag.limits.memory, Some(Limit::Required(ByteSize::from_mib(1024))));
    assert_eq!(by_flag.limits.cpus, Some(Limit::Required(Cpus::from_milli(500))));
}

#[test]
fn the_network_can_be_turned_off_by_either_and_on_by_a_file() {
    assert_eq!(spec_of("--no-network", "security.network = true").policy.network, Network::Off);
    assert_eq!(spec_of("", "security.network = false").policy.network, Network::Off);
    let on = spec_of("-p restrictive", "security.network = true").policy.network;
    assert_eq!(on, Network::Rules(EgressRules::default()));
}

#[test]
fn only_the_permissive_profile_passes_the_environment_and_the_home() {
    let spec = spec_of("-p permissive -e LANG=de -e A=b=c", "");
    let env: Vec<String> = spec.env.iter().map(|v| format!("{}={}", v.key(), v.value())).collect();
    assert_eq!(env, ["LANG=C.UTF-8", "LANG=de", "A=b=c"]);
    assert_eq!(spec.policy.mounts[0].target.as_str(), "/home/user");
    assert!(spec_of("", "").policy.mounts.is_empty());
}

#[test]
fn the_other_flags_reach_the_spec() {
    let spec = spec_of(
        "-w /srv -u 1000:100 -P 8080:80 -P 3000 -v /usr:/data:ro --isolation vm",
        "network.ports = [3000, 90]",
    );
    assert_eq!(spec.workdir.unwrap().as_str(), "/srv");
    assert_eq!(spec.user.unwrap().to_string(), "1000:100");
    let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["8080:80", "3000:3000", "90:90"]);
    assert_eq!(spec.policy.mounts[0].source, Path::new("/usr"));
    assert_eq!(spec.isolation, Isolation::Vm);
}

#[test]
fn the_oci_runtime_is_the_flags_and_else_the_configurations() {
    let named = |args, file| spec_of(args, file).runtime.map(|name| name.to_string());
    let file = "sandbox.oci_runtime = 'runsc'";
    assert_eq!(named("", ""), None);
    assert_eq!(named("", file).as_deref(), Some("runsc"));
    assert_eq!(named("--runtime kata", file).as_deref(), Some("kata"));
    // A language, as ever.
    assert_eq!(named("", "sandbox.runtime = 'python'"), None);
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |args: &str| try_spec(args, "").unwrap_err().kind();
    assert_eq!(refused("-P 80:1 -P 80:2"), Kind::Invalid);
    assert!(try_spec("-P 0:1 -P 0:2", "").is_ok());
    assert_eq!(refused("-v /no/such:/data"), Kind::NotFound);
    assert_eq!(refused("-v /usr:/data -v /etc:/data"), Kind::Invalid);
    assert_eq!(refused("-v /usr:/proc"), Kind::Invalid);
    assert_eq!(refused("-v nosuch:/data"), Kind::NotFound);
}

#[test]
fn a_flag_takes_the_place_of_a_mount_of_the_file() {
    let file = "[[mounts]]\nsource = '/usr'\ntarget = '/data'\n[[mounts]]\nsource = '/etc'\ntarget = '/more'";
    let spec = spec_of("-v /opt:/data:ro", file);
    let sources: Vec<&Path> = spec.policy.mounts.iter().map(|m| m.source.as_path()).collect();
    assert_eq!(sources, [Path::new("/opt"), Path::new("/etc")]);
}

#[test]
fn values_that_break_a_grammar_are_refused_with_a_hint() {
    for args in [
        "-p permisive",
        "--memory 1",
        "--memory x",
        "--cpus 0",
        "--isolation kvm",
        "--runtime /usr/bin/runsc",
        "-e NOVALUE",
        "-u ada",
        "-w rel",
        "-P 0:0",
        "-i UPPER:..:",
        "--publish 53:53/udp",
    ] {
        let parsed = Flags::try_parse_from(std::iter::once("x").chain(args.split_whitespace()));
        let error = parsed.err().unwrap_or_else(|| panic!("{args} was accepted"));
        let inner = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<Error>());
        assert!(inner.is_some_and(|e| e.hint().is_some()), "{args}: {error}");
    }
}
