//! What is under test, and the specs and commands that cases are made from.

use agentkernel_backend::{
    Backend, CreateInputs, Driver, Host, ImageDefaults, Lease, Owners, Refusal, Rootfs,
};
use agentkernel_model::{
    Result,
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    image::ImageRef,
    limits::Limits,
    mount::Workspace,
    policy::{EffectivePolicy, Network, Profile},
    runtime::RuntimeName,
    spec::{Isolation, Lifetime, SandboxSpec},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A backend under test and what it runs on.
#[derive(Debug, Clone)]
pub struct Subject {
    pub driver: Driver,
    pub host: Host,
    pub rootfs: Lease,
    /// The built `agentkernel-testkit-guest`.
    pub guest: PathBuf,
    /// A directory of this case alone, beside the data directory.
    pub scratch: PathBuf,
    /// The runtime that every sandbox asks its engine for.
    pub runtime: Option<RuntimeName>,
}

impl Subject {
    /// A backend as a new process would build it.
    ///
    /// # Errors
    /// As the driver's constructor.
    pub fn build(&self) -> Result<Arc<dyn Backend>> {
        (self.driver.build)(&self.host)
    }
}

/// The machine as seen by the owner of this process, with `data` as data directory.
#[must_use]
pub fn host_of(data: &Path, exe: PathBuf) -> Host {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Host {
        data: data.to_owned(),
        exe,
        uid,
        gid,
        login: login(uid),
        surroundings: agentkernel_backend::Surroundings::default(),
    }
}

fn login(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|l| l.split(':').collect::<Vec<_>>())
        .find(|f| f.get(2) == Some(&uid.to_string().as_str()));
    entry.map_or_else(|| uid.to_string(), |fields| fields[0].to_owned())
}

/// A root without any files: for backends whose sandboxes see the host's.
#[must_use]
pub fn bare_rootfs() -> Lease {
    Lease::unguarded(Rootfs {
        identity: "bare".to_owned(),
        layers: Vec::new(),
        grafts: Vec::new(),
        links: Vec::new(),
        directories: Vec::new(),
        files: Vec::new(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
        defaults: ImageDefaults::default(),
        owners: Owners::Single,
    })
}

/// The least that a command needs: a writable root, no network, no project, no limits.
#[must_use]
pub fn plain_spec() -> SandboxSpec {
    let mut policy = EffectivePolicy::of_profile(Profile::Moderate);
    policy.network = Network::Off;
    policy.limits = Limits { memory: None, cpus: None, pids: None };
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy,
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: None,
    }
}

/// `spec` admitted by `backend`, ready for `create`.
///
/// # Errors
/// The refusals.
pub fn inputs(
    backend: &dyn Backend,
    spec: &SandboxSpec,
    id: SandboxId,
    rootfs: &Lease,
) -> std::result::Result<CreateInputs, Vec<Refusal>> {
    Ok(CreateInputs { admitted: backend.admit(spec)?, id, rootfs: rootfs.clone() })
}

/// `script` run by /bin/sh, without input.
///
/// # Panics
/// When `script` is no argument: holds NUL or is too long.
#[must_use]
pub fn sh(script: &str) -> ExecSpec {
    command(&["/bin/sh", "-c", script])
}

/// `words` as a command without input.
///
/// # Panics
/// When `words` are no command: none, or with NUL or too long.
#[must_use]
pub fn command(words: &[&str]) -> ExecSpec {
    let words = words.iter().map(|w| (*w).to_owned()).collect();
    let argv = Argv::new(words).unwrap_or_else(|e| panic!("a case has a command that is none: {e}"));
    ExecSpec { argv, env: Vec::new(), workdir: None, user: None, stdio: Stdio::NoInput }
}

/// `spec` with its input open.
#[must_use]
pub const fn with_input(mut spec: ExecSpec) -> ExecSpec {
    spec.stdio = Stdio::Pipes;
    spec
}

/// `spec` with `path` as working directory.
///
/// # Panics
/// When `path` is not an absolute path.
#[must_use]
pub fn at(path: &str, mut spec: ExecSpec) -> ExecSpec {
    spec.workdir = Some(path.parse().unwrap_or_else(|e| panic!("a case has a path that is none: {e}")));
    spec
}
