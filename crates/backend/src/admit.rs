//! Admission: a spec is measured against a backend's capabilities before anything starts.

use agentkernel_model::{
    Error, Kind,
    capabilities::{Boundary, Capabilities, Egress, Support},
    id::BackendId,
    limits::{Limit, Limits},
    mount::Workspace,
    policy::{Network, RootAccess},
    spec::{Isolation, Lifetime, SandboxSpec},
};

/// Why a backend will not run a spec: the part that it cannot do, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub what: String,
    pub hint: String,
}

impl Refusal {
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// A spec that one backend has promised to enforce in full. [`admit`] is its only constructor.
#[derive(Debug, Clone)]
pub struct Admitted {
    spec: SandboxSpec,
    backend: BackendId,
    unenforced: Vec<String>,
}

impl Admitted {
    #[must_use]
    pub const fn spec(&self) -> &SandboxSpec {
        &self.spec
    }

    #[must_use]
    pub const fn backend(&self) -> &BackendId {
        &self.backend
    }

    /// Default limits that this backend cannot enforce here, such as `memory 512MB`; they are shown, never silent.
    #[must_use]
    pub fn unenforced(&self) -> &[String] {
        &self.unenforced
    }
}

/// The common admission: every capability that `spec` needs, and `extra` refusals of the driver's own.
///
/// # Errors
/// Every reason at once, so that a person mends their command line in one go.
pub fn admit(
    backend: &BackendId,
    spec: &SandboxSpec,
    can: &Capabilities,
    extra: Vec<Refusal>,
) -> Result<Admitted, Vec<Refusal>> {
    let mut refusals = extra;
    let mut need = |wanted: bool, support: Support, what: &str, hint: &str| {
        if wanted && !support.is_yes() {
            refusals.push(Refusal::new(what, hint));
        }
    };
    let policy = &spec.policy;
    let other_user = spec.user.is_some_and(|u| !u.is_root());
    need(other_user, can.users, "commands as another user than root", "leave out --user");
    need(!policy.mounts.is_empty(), can.mounts, "mounts of host directories", "leave out --volume");
    let view = matches!(spec.workspace, Workspace::View(_));
    need(view, can.workspace_view, "a copy-on-write view of the project", "add --no-workspace");
    let direct = matches!(spec.workspace, Workspace::Direct { .. });
    need(direct, can.mounts, "the project mounted at /workspace", "leave out --dir");
    need(
        policy.root == RootAccess::ReadOnly,
        can.read_only_root,
        "a read-only root",
        "choose another profile",
    );
    need(!spec.ports.is_empty(), can.publish_ports, "published ports", "leave out --publish");
    need(spec.lifetime == Lifetime::Named, can.named, "named sandboxes", "use 'agentkernel run'");
    let vm = Support::from_test(can.boundary == Boundary::Vm);
    need(spec.isolation == Isolation::Vm, vm, "a kernel of the sandbox's own", "leave out --isolation vm");
    need(
        policy.has_own_files(),
        can.own_files,
        "secrets, and rules about requests",
        "leave out --secret and --secret-file, or name another backend with --backend",
    );
    need(
        spec.runtime.is_some(),
        can.runtimes,
        "another OCI runtime",
        "leave out --runtime, or name a backend that has runtimes with --backend",
    );
    let rules = matches!(policy.network, Network::Rules(_));
    let gateway = Support::from_test(matches!(can.egress, Egress::HostGateway | Egress::PolicyObject));
    need(rules, gateway, "network rules", "add --no-network");
    let written = matches!(&policy.network, Network::Rules(rules) if !rules.is_plain());
    let own_gateway = Support::from_test(can.egress == Egress::HostGateway);
    need(
        written && gateway.is_yes(),
        own_gateway,
        "network rules about names and addresses",
        "leave out --allow, --deny and --only-listed, or name another backend with --backend",
    );
    need(
        !policy.secrets.is_empty(),
        own_gateway,
        "secrets that only the gateway knows",
        "leave out --secret, or name another backend with --backend",
    );
    let open = policy.network == Network::Open;
    need(open, Support::from_test(can.egress != Egress::OffOnly), "a network", "add --no-network");
    let no_network = policy.network == Network::Off;
    need(
        no_network && !spec.ports.is_empty(),
        Support::No,
        "published ports without a network",
        "drop one of the two",
    );

    let unenforced = check_limits(&policy.limits, can, &mut refusals);
    if refusals.is_empty() {
        return Ok(Admitted { spec: spec.clone(), backend: backend.clone(), unenforced });
    }
    Err(refusals)
}

/// Required limits become refusals where they cannot hold; the Default ones that cannot are returned.
fn check_limits(limits: &Limits, can: &Capabilities, refusals: &mut Vec<Refusal>) -> Vec<String> {
    let mut unenforced = Vec::new();
    let mut check = |text: Option<(bool, String)>, support: Support, flag: &str| {
        let Some((required, text)) = text.filter(|_| !support.is_yes()) else { return };
        if required {
            let hint =
                format!("leave out {flag}, or see 'agentkernel doctor' for what would make it possible");
            refusals.push(Refusal::new(
                format!("the limit {text}, which this machine does not let it enforce"),
                hint,
            ));
        } else {
            unenforced.push(text);
        }
    };
    fn line<T: Copy + std::fmt::Display>(name: &str, limit: Option<Limit<T>>) -> Option<(bool, String)> {
        limit.map(|l| (l.is_required(), format!("{name} {}", l.value())))
    }
    check(line("memory", limits.memory), can.limit_memory, "--memory");
    check(line("cpus", limits.cpus), can.limit_cpus, "--cpus");
    check(line("pids", limits.pids), can.limit_pids, "the pids limit");
    unenforced
}

/// One error of all `refusals` of `backend`.
#[must_use]
pub fn refused(backend: &BackendId, refusals: &[Refusal]) -> Error {
    let what: Vec<&str> = refusals.iter().map(|r| r.what.as_str()).collect();
    let mut hints: Vec<&str> = refusals.iter().map(|r| r.hint.as_str()).collect();
    hints.dedup();
    Error::new(Kind::Unsupported, format!("backend '{backend}' cannot provide {}", what.join("; nor ")))
        .with_hint(hints.join("; "))
}
