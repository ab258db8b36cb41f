//! Flags, configuration and project become one resolved spec. Past this file nothing is a raw string.

use crate::{
    args::SandboxArgs,
    image,
    project::{self, Directory, Trust},
    settings::{self, Settings},
    workspace,
};
use agentkernel_config::{Config, detect};
use agentkernel_engine::guard;
use agentkernel_model::{
    Error, Kind, Result,
    command::EnvVar,
    image::ImageRef,
    mount::{Mount, Workspace},
    name::SandboxName,
    policy::{EffectivePolicy, EnvPassthrough, NetworkSwitch, PolicyRequest, Profile},
    port::PublishedPort,
    spec::{Lifetime, SandboxSpec},
    text::printable,
};
use std::path::{Path, PathBuf};

/// What the sandbox is for: decides about the image and `/workspace`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// One command, with a view of the project unless `project` says no.
    Run { program: &'a str, project: ProjectUse, lifetime: Lifetime },
    /// A named sandbox; `dir` is `--dir` as typed.
    Create { dir: Option<&'a str> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProjectUse {
    Automatic,
    None,
}

/// A spec, and what was decided on the way to it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) spec: SandboxSpec,
    /// For stderr and `--json`.
    pub(crate) notes: Vec<String>,
    /// For stderr when that is a terminal.
    pub(crate) remarks: Vec<String>,
    /// `sandbox.name` of the configuration.
    pub(crate) name: Option<SandboxName>,
}

/// Reads the configuration and the project, and resolves everything.
///
/// # Errors
/// Whatever the caller or a file wrote that cannot be; nothing was started.
pub(crate) fn prepare(settings: &Settings, flags: &SandboxArgs, purpose: Purpose<'_>) -> Result<Prepared> {
    let cwd = settings::current_dir()?;
    let home = settings.home.as_deref().map(workspace::resolved);
    let loaded = project::load(flags.config.as_deref(), &cwd, flags.profile)?;
    let config = loaded.config;

    let named_image = match loaded.trust {
        Trust::Named => flags.image.clone().or_else(|| config.image.clone()),
        Trust::Found => flags.image.clone(),
    };
    let directory = Directory(cwd.clone());
    let chosen = image::choose(named_image, || match purpose {
        Purpose::Run { program, .. } => detect::for_command(program, &directory, config.image.as_ref()),
        Purpose::Create { .. } => detect::for_project(&directory, config.image.as_ref()),
    })?;

    let mounts = volumes(&flags.volume, &cwd)?;
    let (workspace, remark) = place(purpose, flags, &config, &cwd, home.as_deref())?;
    let covered = mounts.iter().any(|m| m.target.as_str() == Workspace::TARGET);
    let ingredients = Ingredients {
        flags,
        image: chosen.image,
        // A volume at /workspace is a person's own word against an automatic one.
        workspace: if covered && !asked_for_dir(purpose) { Workspace::None } else { workspace },
        mounts,
        home: home.filter(|h| h.is_dir()),
        locale: &settings.locale,
        lifetime: purpose.lifetime(),
    };
    let mut spec = resolve(ingredients, &config)?;
    guard::keep_read_only(&mut spec, &flags.allow_write)?;
    let name = config.name;
    let notes = loaded.note.into_iter().chain(chosen.note).collect();
    Ok(Prepared { spec, notes, remarks: remark.into_iter().collect(), name })
}

impl Purpose<'_> {
    const fn lifetime(self) -> Lifetime {
        match self {
            Self::Run { lifetime, .. } => lifetime,
            Self::Create { .. } => Lifetime::Named,
        }
    }
}

const fn asked_for_dir(purpose: Purpose<'_>) -> bool {
    matches!(purpose, Purpose::Create { dir: Some(_) })
}

fn profile(flags: &SandboxArgs, config: &Config) -> Profile {
    flags.profile.or(config.profile).unwrap_or_default()
}

fn place(
    purpose: Purpose<'_>,
    flags: &SandboxArgs,
    config: &Config,
    cwd: &Path,
    home: Option<&Path>,
) -> Result<(Workspace, Option<String>)> {
    let profile = profile(flags, config);
    let writable = workspace::mounts_cwd(profile, config.mount_cwd);
    let automatic = || {
        let automatic = workspace::automatic(cwd, home, writable);
        (automatic.workspace, automatic.note)
    };
    match purpose {
        Purpose::Run { project: ProjectUse::None, .. } => Ok((Workspace::None, None)),
        Purpose::Run { project: ProjectUse::Automatic, .. } => Ok(automatic()),
        Purpose::Create { dir: Some(dir) } => Ok((workspace::named(dir, cwd, home, profile)?, None)),
        Purpose::Create { dir: None } if writable => Ok(automatic()),
        Purpose::Create { dir: None } => Ok((Workspace::None, None)),
    }
}

/// Parses `--volume` and sees that each source is there.
fn volumes(texts: &[String], cwd: &Path) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::with_capacity(texts.len());
    for text in texts {
        let mount = Mount::parse(text, cwd)?;
        if !mount.source.exists() {
            let shown = printable(&mount.source.to_string_lossy());
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no {shown} to mount at {}", mount.target),
            )
            .with_hint("create it first, or mend the path of --volume"));
        }
        if mounts.iter().any(|m| m.target == mount.target) {
            return Err(Error::invalid(format!("two volumes are mounted at {}", mount.target))
                .with_hint("give each --volume a place of its own"));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

/// Everything that a spec is computed from, apart from the configuration.
#[derive(Debug)]
struct Ingredients<'a> {
    flags: &'a SandboxArgs,
    image: ImageRef,
    workspace: Workspace,
    mounts: Vec<Mount>,
    home: Option<PathBuf>,
    locale: &'a [EnvVar],
    lifetime: Lifetime,
}

/// Flags win over the configuration, which wins over the profile. Pure.
fn resolve(from: Ingredients<'_>, config: &Config) -> Result<SandboxSpec> {
    let flags = from.flags;
    let policy = EffectivePolicy::resolve(PolicyRequest {
        profile: profile(flags, config),
        network: if flags.no_network { Some(NetworkSwitch::Off) } else { config.network },
        mounts: from.mounts,
        memory: flags.memory.or(config.memory),
        cpus: flags.cpus.or(config.cpus),
        pids: None,
        home: from.home,
    });
    let mut env = match policy.env {
        EnvPassthrough::Locale => from.locale.to_vec(),
        EnvPassthrough::None => Vec::new(),
    };
    env.extend(flags.env.iter().cloned());
    Ok(SandboxSpec {
        image: from.image,
        workspace: from.workspace,
        env,
        workdir: flags.workdir.clone(),
        user: flags.user,
        ports: ports(&flags.publish, &config.ports)?,
        policy,
        isolation: flags.isolation,
        lifetime: from.lifetime,
    })
}

/// The flags' ports and then the configuration's, each once.
fn ports(flags: &[PublishedPort], config: &[PublishedPort]) -> Result<Vec<PublishedPort>> {
    let mut ports: Vec<PublishedPort> = Vec::new();
    for port in flags.iter().chain(config) {
        if ports.contains(port) {
            continue;
        }
        if port.host != 0 && ports.iter().any(|p| p.host == port.host) {
            return Err(Error::invalid(format!("port {} of this machine is published twice", port.host))
                .with_hint(format!("write another first number, such as --publish {}:{}", 0, port.guest)));
        }
        ports.push(*port);
    }
    Ok(ports)
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
