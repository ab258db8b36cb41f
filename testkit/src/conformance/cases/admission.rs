//! Capabilities, admission and probing.

use crate::conformance::{
    bench::Bench,
    case::{Failure, Verdict, check, same},
    subject::plain_spec,
};
use agentkernel_model::{
    capabilities::{Boundary, Egress, Support},
    command::User,
    egress::{EgressRules, Otherwise},
    limits::{Limit, Limits},
    mount::{Access, Mount, Workspace},
    policy::{Network, RootAccess},
    port::PublishedPort,
    secret::{SecretBinding, SecretGrant},
    size::{ByteSize, Cpus},
    spec::{Isolation, SandboxSpec},
};
use std::{collections::BTreeSet, fs, path::PathBuf};

type Wish = (&'static str, Support, Box<dyn Fn(&mut SandboxSpec)>);

/// One change of the plain spec for each capability, and whether the backend says that it can.
fn wishes(b: &Bench) -> Result<Vec<Wish>, Failure> {
    let can = b.backend().capabilities();
    let scratch = b.scratch().to_owned();
    let mount = Mount { source: scratch.clone(), target: "/data".parse()?, access: Access::ReadOnly };
    let view = Workspace::View(scratch.clone());
    let direct = Workspace::Direct { source: scratch, access: Access::ReadOnly };
    let gateway = matches!(can.egress, Egress::HostGateway | Egress::PolicyObject);
    let rules = vec!["deny api.example.com".parse()?];
    let listed = EgressRules { rules, otherwise: Otherwise::Public };
    let binding: SecretBinding = "KEY:api.example.com".parse()?;
    Ok(vec![
        ("users", can.users, Box::new(|s| s.user = Some(User { uid: 1000, gid: 1000 }))),
        ("mounts", can.mounts, Box::new(move |s| s.policy.mounts.push(mount.clone()))),
        ("workspace_view", can.workspace_view, Box::new(move |s| s.workspace = view.clone())),
        ("a direct workspace", can.mounts, Box::new(move |s| s.workspace = direct.clone())),
        ("read_only_root", can.read_only_root, Box::new(|s| s.policy.root = RootAccess::ReadOnly)),
        (
            "a kernel of its own",
            Support::from_test(can.boundary == Boundary::Vm),
            Box::new(|s| s.isolation = Isolation::Vm),
        ),
        (
            "public addresses only",
            Support::from_test(gateway),
            Box::new(|s| s.policy.network = Network::Rules(EgressRules::default())),
        ),
        (
            "network rules",
            Support::from_test(can.egress == Egress::HostGateway),
            Box::new(move |s| s.policy.network = Network::Rules(listed.clone())),
        ),
        (
            "nothing but what is listed",
            Support::from_test(can.egress == Egress::HostGateway),
            Box::new(|s| {
                s.policy.network =
                    Network::Rules(EgressRules { rules: Vec::new(), otherwise: Otherwise::Deny });
            }),
        ),
        (
            "secrets that the gateway sends",
            Support::from_test(can.egress == Egress::HostGateway && can.own_files.is_yes()),
            Box::new(move |s| {
                s.policy.network =
                    Network::Rules(EgressRules { rules: Vec::new(), otherwise: Otherwise::Deny });
                s.policy.secrets = vec![SecretGrant::from(&binding)];
            }),
        ),
        (
            "published ports",
            Support::from_test(gateway && can.publish_ports.is_yes()),
            Box::new(|s| {
                s.policy.network = Network::Rules(EgressRules::default());
                s.ports.push(PublishedPort { host: 0, guest: 80 });
            }),
        ),
        (
            "published ports without a network",
            Support::No,
            Box::new(|s| s.ports.push(PublishedPort { host: 0, guest: 80 })),
        ),
    ])
}

pub(super) async fn admit_refuses_what_capabilities_lack(b: Bench) -> Verdict {
    b.backend().admit(&plain_spec()).map_err(|r| Failure(format!("the plain spec is refused: {r:?}")))?;
    for (name, support, change) in wishes(&b)? {
        let mut spec = plain_spec();
        change(&mut spec);
        match (b.backend().admit(&spec), support) {
            (Ok(admitted), Support::Yes) => {
                same!(admitted.spec(), &spec, format!("the admitted spec for {name}"))
            }
            (Err(refusals), Support::No) => {
                let blank = refusals.iter().any(|r| r.what.is_empty() || r.hint.is_empty());
                check!(
                    !refusals.is_empty() && !blank,
                    "{name}: a refusal without reason or hint: {refusals:?}"
                );
            }
            (Ok(_), Support::No) => {
                return Err(Failure(format!("{name} is admitted though it cannot be done")));
            }
            (Err(refusals), Support::Yes) => return Err(Failure(format!("{name} is refused: {refusals:?}"))),
        }
    }
    Ok(())
}

fn entries(b: &Bench) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut found = BTreeSet::new();
    let mut open = vec![b.subject().host.data.clone()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    Ok(found)
}

pub(super) async fn admit_is_pure(b: Bench) -> Verdict {
    let mut impossible = plain_spec();
    for (_, _, change) in wishes(&b)? {
        change(&mut impossible);
    }
    // Whatever a backend sets up at its first call is there before the comparison.
    b.backend().admit(&plain_spec()).map_err(|r| Failure(format!("{r:?}")))?;
    let before = entries(&b)?;
    let first = b.backend().admit(&impossible).map(|_| ());
    let second = b.backend().admit(&impossible).map(|_| ());
    same!(first, second, "two admissions of one spec");
    check!(first.is_err(), "ports without a network and all else at once are admitted");
    same!(entries(&b)?, before, "the data directory");
    same!(b.backend().capabilities(), b.backend().capabilities(), "two answers about capabilities");
    Ok(())
}

fn all_limits(required: bool) -> Limits {
    fn limit<T>(required: bool, value: T) -> Option<Limit<T>> {
        Some(if required { Limit::Required(value) } else { Limit::Default(value) })
    }
    Limits {
        memory: limit(required, ByteSize::from_mib(256)),
        cpus: limit(required, Cpus::from_milli(500)),
        pids: limit(required, 100),
    }
}

fn one_limit(name: &str) -> Limits {
    let all = all_limits(true);
    match name {
        "memory" => Limits { cpus: None, pids: None, ..all },
        "cpus" => Limits { memory: None, pids: None, ..all },
        _ => Limits { memory: None, cpus: None, ..all },
    }
}

pub(super) async fn required_limits_are_refused_or_held(b: Bench) -> Verdict {
    let can = b.backend().capabilities();
    for (name, support) in [("memory", can.limit_memory), ("cpus", can.limit_cpus), ("pids", can.limit_pids)]
    {
        let mut spec = plain_spec();
        spec.policy.limits = one_limit(name);
        match b.backend().admit(&spec) {
            Ok(admitted) => {
                check!(support.is_yes(), "a required limit of {name} is admitted though it cannot hold");
                check!(admitted.unenforced().is_empty(), "unenforced: {:?}", admitted.unenforced());
            }
            Err(refusals) => check!(!support.is_yes(), "a limit of {name} is refused: {refusals:?}"),
        }
    }
    Ok(())
}

pub(super) async fn default_limits_that_cannot_hold_are_named(b: Bench) -> Verdict {
    let can = b.backend().capabilities();
    let mut spec = plain_spec();
    spec.policy.limits = all_limits(false);
    let admitted =
        b.backend().admit(&spec).map_err(|r| Failure(format!("default limits are refused: {r:?}")))?;
    for (name, support) in [("memory", can.limit_memory), ("cpus", can.limit_cpus), ("pids", can.limit_pids)]
    {
        let named = admitted.unenforced().iter().any(|text| text.contains(name));
        same!(named, !support.is_yes(), format!("whether {name} is named as not enforced"));
    }
    Ok(())
}

pub(super) async fn probe_is_healthy_and_leaves_nothing(b: Bench) -> Verdict {
    let health = b.backend().probe().await;
    check!(health.is_healthy(), "{health:?}");
    same!(b.leftovers()?, Vec::<String>::new(), "leftovers");
    Ok(())
}
