//! A sandbox as a configuration, from which the same sandbox can be made again.

use crate::{
    account::Account,
    entry::{FileBody, FileEntry},
    file::{Config, Domains},
    render::render,
    template::TemplateInfo,
    workspace::{MountRequest, Share, WorkspaceRequest},
};
use agentkernel_model::{
    Error, Kind, Result,
    command::EnvVar,
    egress::{EgressRules, Otherwise},
    guard::Place,
    limits::{Limit, Limits},
    mount::{Access, Mount, Workspace},
    name::{Label, SandboxName},
    policy::{EffectivePolicy, Network, NetworkSwitch, Profile},
    secret::{Held, SecretGrant},
    spec::{SandboxSpec, SpecFile},
    text::printable,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What a record knows about a sandbox besides its spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    pub name: Option<SandboxName>,
    pub labels: Vec<Label>,
    pub description: Option<String>,
    /// The whole time that it was given, not what is left of it.
    pub ttl: Option<Duration>,
    pub backend: Option<String>,
    /// For `template save`.
    pub template: TemplateInfo,
    /// The caller's home: the profile mounts it by itself, so that it is not written.
    pub home: Option<PathBuf>,
}

/// The configuration that makes the sandbox again: [`Config::parse`] and [`Config::ingredients`] lead back to the same
/// spec. Without ids, times and the lifetime; environment variables are written with their values. Left out is what comes
/// back by itself: the home of the profile permissive, and the read-only mounts that guard a writable directory. A spec
/// does not know what `--allow-write` said. A default size that is not the profile's is written, and required from then on.
///
/// # Errors
/// [`Kind::Unsupported`] for a policy that no configuration comes to (of a backend with a network of its own, or made by
/// another version), and for paths that are no UTF-8.
pub fn to_toml(spec: &SandboxSpec, meta: &Meta) -> Result<String> {
    let config = of_spec(spec, meta)?;
    let text = render(&config);
    match Config::parse("the exported configuration", &text) {
        Ok(read) if read == config => Ok(text),
        Ok(_) => Err(Error::internal("the exported configuration does not say what the sandbox is")),
        Err(error) => Err(unwritable("a value that no configuration may have").with_source(error)),
    }
}

/// [`to_toml`] before it is text.
///
/// # Errors
/// As [`to_toml`].
pub fn of_spec(spec: &SandboxSpec, meta: &Meta) -> Result<Config> {
    let policy = &spec.policy;
    let profile = EffectivePolicy::of_profile(policy.profile);
    let explicit = explicit_mounts(spec, meta.home.as_deref());
    let egress = match &policy.network {
        Network::Rules(egress) => egress.clone(),
        Network::Off | Network::Open => EgressRules::default(),
    };
    let mut config = Config {
        name: meta.name.clone(),
        description: meta.description.clone(),
        image: Some(spec.image.clone()),
        init_script: spec.init_script.clone(),
        user: spec.user.map(Account::Numbered),
        workdir: spec.workdir.clone(),
        backend: meta.backend.clone(),
        isolation: Some(spec.isolation),
        oci_runtime: spec.runtime.clone(),
        ttl: meta.ttl,
        labels: meta.labels.clone(),
        env: last_of_each(&spec.env),
        cpus: written(policy.limits.cpus, profile.limits.cpus),
        memory: written(policy.limits.memory, profile.limits.memory),
        pids: written(policy.limits.pids, profile.limits.pids),
        ports: spec.ports.clone(),
        profile: Some(policy.profile),
        network: (has_network(policy) != has_network(&profile)).then_some(match has_network(policy) {
            true => NetworkSwitch::On,
            false => NetworkSwitch::Off,
        }),
        rules: egress.rules,
        domains: Domains {
            allowlist_only: (egress.otherwise == Otherwise::Deny).then_some(true),
            ..Domains::default()
        },
        seccomp: (policy.seccomp != profile.seccomp).then_some(policy.seccomp),
        // A value of the command line is none that a file could name: the vault is asked for it next time.
        secrets: policy.secrets.iter().map(of_vault).collect(),
        secret_files: policy.secret_files.clone(),
        workspace: workspace(&spec.workspace)?,
        files: spec.files.iter().map(file).collect::<Result<_>>()?,
        template: meta.template.clone(),
        ..Config::default()
    };
    for mount in &explicit {
        let request = MountRequest::new(utf8(&mount.source)?, mount.target.clone(), mount.access)?;
        config.mounts.push(request);
    }
    // The one test of all that has no key of its own: capabilities, the root, and whatever comes to be.
    let again = config.ingredients(Path::new("/"))?.policy(explicit.clone(), None);
    let secrets = config.secrets.clone();
    let limits = Limits {
        cpus: config.cpus.map(Limit::Required).or(policy.limits.cpus),
        memory: config.memory.map(Limit::Required).or(policy.limits.memory),
        pids: config.pids.map(Limit::Required).or(policy.limits.pids),
    };
    if again != (EffectivePolicy { mounts: explicit, secrets, limits, ..policy.clone() }) {
        return Err(unwritable("a policy that no configuration comes to"));
    }
    Ok(config)
}

fn of_vault(grant: &SecretGrant) -> SecretGrant {
    SecretGrant { held: Held::Vault, ..grant.clone() }
}

fn has_network(policy: &EffectivePolicy) -> bool {
    policy.network != Network::Off
}

fn unwritable(what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("the sandbox has {what}"))
        .with_hint("make it again by hand; 'agentkernel sandbox info NAME --json' shows all of it")
}

/// What does not come back with the profile. A size of a built-in template or of an agent's mode is as good as a profile's where
/// it comes from; in a file of its owner's it is one that somebody wrote.
fn written<T: Copy + PartialEq>(limit: Option<Limit<T>>, profile: Option<Limit<T>>) -> Option<T> {
    limit.filter(|limit| Some(*limit) != profile).map(Limit::value)
}

/// The mounts that somebody asked for.
fn explicit_mounts(spec: &SandboxSpec, home: Option<&Path>) -> Vec<Mount> {
    let all = &spec.policy.mounts;
    let is_home = |mount: &Mount| {
        spec.policy.profile == Profile::Permissive
            && mount.access == Access::ReadOnly
            && mount.target.as_str() == "/home/user"
            && Some(mount.source.as_path()) == home
    };
    let all = if all.first().is_some_and(is_home) { &all[1..] } else { &all[..] };
    let places: Vec<Place<'_>> = Place::writable_workspace(&spec.workspace)
        .into_iter()
        .chain(all.iter().filter_map(Place::writable))
        .collect();
    let kept = |mount: &&Mount| !places.iter().any(|place| place.is_kept_by(mount));
    all.iter().filter(kept).cloned().collect()
}

/// Of several variables with one key the last counts.
fn last_of_each(env: &[EnvVar]) -> Vec<EnvVar> {
    let is_last = |(index, variable): &(usize, &EnvVar)| {
        !env[index + 1..].iter().any(|later| later.key() == variable.key())
    };
    env.iter().enumerate().filter(is_last).map(|(_, variable)| variable.clone()).collect()
}

fn workspace(workspace: &Workspace) -> Result<WorkspaceRequest> {
    let (source, share) = match workspace {
        Workspace::None => {
            return Ok(WorkspaceRequest { share: Some(Share::None), ..WorkspaceRequest::default() });
        }
        Workspace::View(source) => (source, Share::View),
        Workspace::Direct { source, access: Access::ReadOnly } => (source, Share::ReadOnly),
        Workspace::Direct { source, access: Access::ReadWrite } => (source, Share::ReadWrite),
    };
    Ok(WorkspaceRequest { path: Some(utf8(source)?.to_owned()), share: Some(share), limit: None })
}

fn file(file: &SpecFile) -> Result<FileEntry> {
    FileEntry::new(file.target.clone(), file.mode, FileBody::Content(file.content.clone()))
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::new(
            Kind::Unsupported,
            format!("the path {} is not UTF-8, which TOML needs", printable(&path.to_string_lossy())),
        )
        .with_hint("rename it")
    })
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
