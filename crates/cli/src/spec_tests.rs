use super::*;
use agentkernel_model::{
    limits::Limit,
    policy::{EgressRules, Network, RootAccess},
    size::{ByteSize, Cpus},
    spec::Isolation,
};
use clap::Parser;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    sandbox: SandboxArgs,
}

fn spec_of(args: &str, config: &str) -> SandboxSpec {
    let flags = Flags::try_parse_from(std::iter::once("x").chain(args.split_whitespace())).unwrap().sandbox;
    let locale = [EnvVar::new("LANG", "C.UTF-8").unwrap()];
    let from = Ingredients {
        mounts: volumes(&flags.volume, Path::new("/")).unwrap(),
        flags: &flags,
        image: ImageRef::Host,
        workspace: Workspace::None,
        home: Some(PathBuf::from("/home/ada")),
        locale: &locale,
        lifetime: Lifetime::Ephemeral,
    };
    resolve(from, &Config::parse("f", config).unwrap()).unwrap()
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
fn what_cannot_be_is_refused() {
    let port = |text: &str| text.parse::<PublishedPort>().unwrap();
    assert!(ports(&[port("80:1"), port("80:2")], &[]).is_err());
    assert!(ports(&[port("0:1"), port("0:2")], &[]).is_ok());
    let volume =
        |texts: &[&str]| volumes(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(), Path::new("/"));
    assert_eq!(volume(&["/no/such:/data"]).unwrap_err().kind(), Kind::NotFound);
    assert!(volume(&["/usr:/data", "/etc:/data/"]).is_err());
    assert!(volume(&["/usr:/proc"]).is_err());
}

#[test]
fn values_that_break_a_grammar_are_refused_with_a_hint() {
    for args in [
        "-p permisive",
        "--memory 1",
        "--memory x",
        "--cpus 0",
        "--isolation kvm",
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
