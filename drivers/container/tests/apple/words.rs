//! What is said to `container`, and what is refused because it cannot be said.

use super::site::{Site, sh, spec};
use agentkernel_model::{
    command::EnvVar,
    egress::EgressRules,
    image::ImageRef,
    limits::Limit,
    mount::Workspace,
    policy::{Network, RootAccess},
    size::{ByteSize, Cpus},
    spec::{Lifetime, SandboxSpec},
};

#[tokio::test]
async fn the_policy_is_said_in_documented_flags() {
    let site = Site::new();
    let mut wanted = spec(Lifetime::Named);
    wanted.policy.limits.memory = Some(Limit::Required(ByteSize::from_mib(300)));
    wanted.policy.limits.cpus = Some(Limit::Required(Cpus::from_whole(2)));
    let up = site.up(&wanted).await;
    let words = site.calls("create").remove(0);
    let name = format!("agentkernel-{}", up.id);
    let has = |pair: [&str; 2]| words.windows(2).any(|two| two == pair);
    for pair in [
        ["--name", name.as_str()],
        ["--network", "none"],
        ["--cap-drop", "ALL"],
        ["--cap-add", "CHOWN"],
        ["--memory", "300M"],
        ["--cpus", "2"],
        ["--tmpfs", "/tmp"],
        ["--entrypoint", "/bin/sh"],
    ] {
        assert!(has(pair), "{pair:?} in {words:?}");
    }
    for word in ["--no-dns", "--init", "--interactive"] {
        assert!(words.iter().any(|found| found == word), "{word}");
    }
    for word in ["--read-only", "--ssh", "--publish", "--env", "--volume", "--tty"] {
        assert!(!words.iter().any(|found| found == word), "{word}");
    }
    // Every call about it names exactly it.
    site.backend.stop(up.id, &up.state, std::time::Duration::ZERO).await.unwrap();
    for command in ["start", "stop"] {
        assert_eq!(site.calls(command).remove(0).last(), Some(&name));
    }
    site.destroy(up).await;
    assert_eq!(site.calls("delete").remove(0), ["delete", "--force", name.as_str()]);
}

#[tokio::test]
async fn a_default_limit_that_does_not_hold_is_told() {
    let site = Site::new();
    let mut wanted = spec(Lifetime::Ephemeral);
    wanted.policy.limits.cpus = Some(Limit::Default(Cpus::from_milli(500)));
    wanted.policy.limits.pids = Some(Limit::Default(256));
    let inputs = site.inputs(&wanted);
    assert_eq!(inputs.admitted.unenforced(), ["cpus 0.5", "pids 256"]);
    site.backend.run_once(inputs, &sh("true"), None).await.unwrap().output(10).await.unwrap();
    assert!(site.calls("run")[0].windows(2).any(|two| two == ["--cpus", "1"]));
}

#[test]
fn what_cannot_be_enforced_is_refused_with_a_hint() {
    let site = Site::new();
    let refuse = |change: &dyn Fn(&mut SandboxSpec), part: &str| {
        let mut wanted = spec(Lifetime::Named);
        change(&mut wanted);
        let refusals = site.backend.admit(&wanted).unwrap_err();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert!(refusals[0].what.contains(part) && !refusals[0].hint.is_empty(), "{refusals:?}");
    };
    let file = site.path("file");
    std::fs::write(&file, "").unwrap();
    let mount = |source: &std::path::Path| agentkernel_model::mount::Mount {
        source: source.to_owned(),
        target: "/data".parse().unwrap(),
        access: agentkernel_model::mount::Access::ReadOnly,
    };
    refuse(&|s| s.policy.network = Network::Rules(EgressRules::default()), "network rules");
    refuse(&|s| s.image = ImageRef::Host, "the image 'host'");
    refuse(&|s| s.policy.limits.cpus = Some(Limit::Required(Cpus::from_milli(1500))), "cpus 1.5");
    refuse(&|s| s.policy.limits.pids = Some(Limit::Required(10)), "pids 10");
    refuse(&|s| s.runtime = Some("runsc".parse().unwrap()), "another OCI runtime");
    refuse(&|s| s.policy.mounts.push(mount(&file)), "mounts directories only");
    refuse(&|s| s.policy.mounts.push(mount("/a,readonly=no".as_ref())), "','");
    refuse(&|s| s.env.push(EnvVar::new("A", "b\nC=d").unwrap()), "line break");
    refuse(
        &|s| {
            s.policy.root = RootAccess::ReadOnly;
            s.workspace = Workspace::View("/project".into());
        },
        "outlives a stop",
    );
}
