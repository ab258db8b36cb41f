//! From a configuration to the spec of a sandbox: what remains when every text of it is a value, for whoever lays flags
//! over it.

use crate::{
    account::Account,
    entry::{self, FileBody, FileEntry},
    file::Config,
    workspace::{Share, WorkspaceRequest},
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{EnvVar, User},
    egress::{self, EgressRule, Otherwise},
    guard::GuardedName,
    image::ImageRef,
    mount::{Mount, VolumeArg, Workspace},
    path::GuestPath,
    policy::{EffectivePolicy, EnvPassthrough, Network, NetworkSwitch, PolicyRequest, Profile},
    port::PublishedPort,
    runtime::RuntimeName,
    seccomp::SeccompLevel,
    secret::{SecretBinding, SecretGrant, SecretName},
    size::{ByteSize, Cpus},
    spec::{Isolation, Lifetime, SandboxSpec, SpecFile},
    text::printable,
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// What a configuration asks for. Each field may be replaced by a flag before [`Ingredients::into_spec`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingredients {
    pub image: Option<ImageRef>,
    pub init_script: Option<String>,
    pub user: Option<Account>,
    pub workdir: Option<GuestPath>,
    pub isolation: Isolation,
    pub runtime: Option<RuntimeName>,
    /// `[environment]`, then the author of commits.
    pub env: Vec<EnvVar>,
    pub cpus: Option<Cpus>,
    pub memory: Option<ByteSize>,
    pub pids: Option<u32>,
    pub ports: Vec<PublishedPort>,
    pub profile: Option<Profile>,
    pub network: Option<NetworkSwitch>,
    /// In order.
    pub rules: Vec<EgressRule>,
    pub otherwise: Option<Otherwise>,
    pub mount_cwd: Option<bool>,
    pub seccomp: Option<SeccompLevel>,
    pub allow_write: Vec<GuardedName>,
    /// `[secrets]`; each of a vault, or with its value.
    pub secrets: Vec<SecretBinding>,
    pub secret_files: Vec<SecretName>,
    pub workspace: WorkspaceRequest,
    /// `[[mounts]]`. Managed volumes must be looked up before they can be mounts of a spec.
    pub volumes: Vec<VolumeArg>,
    /// See [`Ingredients::read_sources`].
    pub files: Vec<FileEntry>,
}

/// What a spec needs and no configuration decides alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    pub image: ImageRef,
    pub workspace: Workspace,
    /// Of the flags, then of [`Ingredients::volumes`].
    pub mounts: Vec<Mount>,
    /// The caller's home, for a profile that grants it.
    pub home: Option<PathBuf>,
    /// The caller's [`EnvPassthrough::LOCALE_KEYS`], for a profile that grants them.
    pub locale: Vec<EnvVar>,
    pub lifetime: Lifetime,
}

impl Config {
    /// What the configuration asks for; relative paths of mounts are taken from `base`, the absolute directory of its
    /// file. One that was only found goes through [`crate::trust::restrict`] first.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a GIT_CONFIG_COUNT in `[environment]` that git would refuse, next to an author.
    pub fn ingredients(&self, base: &Path) -> Result<Ingredients> {
        Ok(Ingredients {
            image: self.image.clone(),
            init_script: self.init_script.clone(),
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            isolation: self.isolation.unwrap_or_default(),
            runtime: self.oci_runtime.clone(),
            env: self.variables()?,
            cpus: self.cpus,
            memory: self.memory,
            pids: self.pids,
            ports: self.ports.clone(),
            profile: self.profile,
            network: self.network,
            rules: self.egress(),
            otherwise: self.domains.allowlist_only.map(|only| match only {
                true => Otherwise::Deny,
                false => Otherwise::Public,
            }),
            mount_cwd: self.mount_cwd,
            seccomp: self.seccomp,
            allow_write: self.allow_write.clone(),
            secrets: self.secrets.iter().map(SecretBinding::from).collect(),
            secret_files: self.secret_files.clone(),
            workspace: self.workspace.clone(),
            volumes: self.mounts.iter().map(|mount| mount.volume(base)).collect::<Result<_>>()?,
            files: self.files.clone(),
        })
    }

    /// The environment with the author of commits, whose settings come behind those that `[environment]` gives git.
    fn variables(&self) -> Result<Vec<EnvVar>> {
        const COUNT: &str = "GIT_CONFIG_COUNT";
        let Some(git) = &self.git else { return Ok(self.env.clone()) };
        let count = self.env.iter().find(|variable| variable.key() == COUNT);
        let from = count.map_or(Ok(0), |variable| {
            variable.value().parse::<u16>().map_err(|_| {
                let shown = printable(variable.value());
                Error::invalid(format!("environment.{COUNT} is '{shown}', which is no number of settings"))
                    .with_hint("leave it out, or agent.git_name and agent.git_email")
            })
        })?;
        let own = self.env.iter().filter(|variable| variable.key() != COUNT).cloned();
        Ok(own.chain(git.variables(from)?).collect())
    }
}

impl Ingredients {
    /// Replaces each source of a file by its content, which `read` supplies. `read` gets the path as the configuration
    /// wrote it, and must bound what it reads; for a configuration that was only found it must not follow links out of
    /// the project.
    ///
    /// # Errors
    /// What `read` fails with; [`Kind::Invalid`] when the files are more than [`SpecFile::MAX_TOTAL`] together.
    pub fn read_sources(&mut self, mut read: impl FnMut(&str) -> Result<Vec<u8>>) -> Result<()> {
        for file in &mut self.files {
            if let FileBody::Source(path) = file.body() {
                let content = FileBody::Content(read(path)?);
                *file = FileEntry::new(file.dest().clone(), file.mode(), content)?;
            }
        }
        self.spec_files().map(drop)
    }

    /// Whether the project's directory is to be mounted writable; `None` leaves it to the profile.
    #[must_use]
    pub fn mounts_cwd(&self) -> Option<bool> {
        let writable = self.workspace.path.is_none() && self.workspace.share == Some(Share::ReadWrite);
        self.mount_cwd.or(writable.then_some(true))
    }

    /// Whether there is one: what was written, else what the profile gives.
    #[must_use]
    pub fn has_network(&self) -> bool {
        match self.network {
            Some(switch) => switch == NetworkSwitch::On,
            None => EffectivePolicy::of_profile(self.profile.unwrap_or_default()).network != Network::Off,
        }
    }

    fn request(&self, mounts: Vec<Mount>, home: Option<PathBuf>) -> PolicyRequest {
        PolicyRequest {
            profile: self.profile.unwrap_or_default(),
            network: self.network,
            secrets: self.secrets.iter().map(SecretGrant::from).collect(),
            secret_files: self.secret_files.clone(),
            rules: self.rules.clone(),
            otherwise: self.otherwise,
            mounts,
            memory: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            home,
        }
    }

    /// The policy: explicit values win over the profile's. Pure.
    #[must_use]
    pub fn policy(&self, mounts: Vec<Mount>, home: Option<PathBuf>) -> EffectivePolicy {
        self.resolved(self.request(mounts, home))
    }

    fn resolved(&self, request: PolicyRequest) -> EffectivePolicy {
        let mut policy = EffectivePolicy::resolve(request);
        policy.seccomp = self.seccomp.unwrap_or(policy.seccomp);
        policy
    }

    /// The spec of it all.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a user that is still a name; [`Kind::Invalid`] when the files are too much or would be
    /// written through a mount, two ports of this machine are the same, or a sandbox without network has rules or secrets;
    /// [`Kind::Internal`] when [`Ingredients::read_sources`] was forgotten.
    pub fn into_spec(self, around: Surroundings) -> Result<SandboxSpec> {
        let request = self.request(around.mounts, around.home);
        EffectivePolicy::check(&request)?;
        egress::check_count(&request.rules)?;
        let policy = self.resolved(request);
        let user = self.user.as_ref().map(numbered).transpose()?;
        let files = self.spec_files()?;
        stay_inside(&files, &around.workspace, &policy.mounts)?;
        let mut env = match policy.env {
            EnvPassthrough::Locale => around.locale,
            EnvPassthrough::None => Vec::new(),
        };
        env.extend(self.env);
        Ok(SandboxSpec {
            image: around.image,
            workspace: around.workspace,
            env,
            workdir: self.workdir,
            user,
            ports: distinct(self.ports)?,
            policy,
            isolation: self.isolation,
            lifetime: around.lifetime,
            files,
            init_script: self.init_script,
            runtime: self.runtime,
        })
    }

    fn spec_files(&self) -> Result<Vec<SpecFile>> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let FileBody::Content(content) = file.body() else {
                return Err(Error::internal(format!("the source of {} was not read", file.dest())));
            };
            files.push(SpecFile { target: file.dest().clone(), mode: file.mode(), content: content.clone() });
        }
        entry::check_total(files.iter().map(|file| file.content.as_slice()))?;
        Ok(files)
    }
}

/// Sees that no file would be written through a mount into a directory of this machine. A view is the sandbox's own.
fn stay_inside(files: &[SpecFile], workspace: &Workspace, mounts: &[Mount]) -> Result<()> {
    let below = |path: &GuestPath, place: &str| {
        path.as_str().strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let direct = matches!(workspace, Workspace::Direct { .. }).then_some(Workspace::TARGET);
    let places: Vec<&str> =
        direct.into_iter().chain(mounts.iter().map(|mount| mount.target.as_str())).collect();
    for file in files {
        if let Some(place) = places.iter().find(|place| below(&file.target, place)) {
            let message = format!(
                "the file {} would be written to this machine, which is mounted at {place}",
                file.target
            );
            return Err(Error::invalid(message).with_hint("put it elsewhere, or take the mount away"));
        }
    }
    Ok(())
}

fn numbered(account: &Account) -> Result<User> {
    match account {
        Account::Numbered(user) => Ok(*user),
        Account::Named(name) => Err(Error::new(
            Kind::Unsupported,
            format!("the number of user '{}' is not known without its image", printable(name)),
        )
        .with_hint("write UID:GID, such as user = \"1000:1000\"")),
    }
}

/// The ports, each once.
fn distinct(ports: Vec<PublishedPort>) -> Result<Vec<PublishedPort>> {
    let (mut seen, mut hosts) = (HashSet::new(), HashSet::new());
    let mut kept = Vec::with_capacity(ports.len());
    for port in ports.into_iter().filter(|port| seen.insert(*port)) {
        if port.host != 0 && !hosts.insert(port.host) {
            return Err(Error::invalid(format!("port {} of this machine is published twice", port.host))
                .with_hint(format!("write another first number, such as 0:{}", port.guest)));
        }
        kept.push(port);
    }
    Ok(kept)
}

#[cfg(test)]
#[path = "ingredients_tests.rs"]
mod tests;
