//! Flags, configuration and project become one resolved spec. Past this file nothing is a raw string.

use crate::{
    agent,
    args::SandboxArgs,
    configuration::{self, Loaded},
    context::Context,
    image::{self, Having},
    secrets::Wanted,
    settings,
    traces::part,
    workspace,
};
use agentkernel_config::{Account, Config, Ingredients, ingredients::Surroundings, mode};
use agentkernel_engine::{Engine, guard};
use agentkernel_model::{
    Error, Kind, Result,
    agent::Agent,
    egress::Otherwise,
    limits::{Limit, Limits},
    mount::{Mount, VolumeArg, Workspace},
    name::{Label, SandboxName},
    policy::NetworkSwitch,
    spec::{Lifetime, SandboxSpec},
    text::printable,
};
use std::{path::Path, time::Duration};

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
    /// What led to the image: a flag, a file, the command.
    pub(crate) image_from: String,
    /// The coding agent that it suits.
    pub(crate) agent: Option<Agent>,
    /// For stderr and `--json`.
    pub(crate) notes: Vec<String>,
    /// For stderr when that is a terminal.
    pub(crate) remarks: Vec<String>,
    /// What the configuration says about a sandbox besides its spec; flags win over it.
    pub(crate) about: About,
    /// The secrets of `spec`, whose values are still to be had.
    pub(crate) secrets: Wanted,
}

/// A sandbox besides its spec.
#[derive(Debug, Default)]
pub(crate) struct About {
    pub(crate) name: Option<SandboxName>,
    pub(crate) backend: Option<String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) description: Option<String>,
    pub(crate) ttl: Option<Duration>,
    /// Of the template: what to do next.
    pub(crate) help_text: Option<String>,
}

/// Reads the configuration and the project, has the image, and resolves everything.
///
/// # Errors
/// Whatever the caller or a file wrote that cannot be, and an image that cannot be had; nothing was started.
pub(crate) fn prepare(
    engine: &Engine,
    context: &Context,
    flags: &SandboxArgs,
    purpose: Purpose<'_>,
    having: Having<'_>,
) -> Result<Prepared> {
    let cwd = settings::current_dir()?;
    let settings = &context.settings;
    let home = settings.home.as_deref().map(workspace::resolved);
    let program = match purpose {
        Purpose::Run { program, .. } => Some(program),
        Purpose::Create { .. } => None,
    };
    let loaded = part!("configuration", configuration::load(engine, flags, &cwd, program))?;
    let chosen = part!("image", image::choose(engine, flags, &loaded, &cwd, program, having))?;
    let mut ingredients = loaded.config.ingredients(&cwd)?;
    lay_flags_over(&mut ingredients, flags);
    let (bound, files) =
        (std::mem::take(&mut ingredients.secrets), std::mem::take(&mut ingredients.secret_files));
    let mut secrets = flags.secrets.wanted()?.over(bound, files);
    (ingredients.secrets, ingredients.secret_files) = (secrets.bindings.clone(), secrets.files.clone());
    let lifetime = purpose.lifetime();
    let furnished = agent::furnish(context, flags, &loaded, &mut ingredients, &mut secrets, lifetime)?;
    let Loaded { config, mut sizes, mut notes, agent, .. } = loaded;
    if agent.is_some() {
        sizes.memory = sizes.memory.or(Some(Limit::Default(mode::MEMORY)));
    }
    notes.extend(chosen.note.into_iter().chain(furnished));
    if let Some(Account::Named(name)) = &ingredients.user {
        ingredients.user = Some(Account::Numbered(engine.user_of(&chosen.image, name)?));
    }
    let mounts = mounts(engine, &flags.volume, &ingredients.volumes, &cwd)?;
    let (workspace, remark) = place(purpose, &ingredients, &cwd, home.as_deref())?;
    let covered = mounts.iter().any(|m| m.target.as_str() == Workspace::TARGET);
    let allow_write = ingredients.allow_write.clone();
    let mut spec = ingredients.into_spec(Surroundings {
        image: chosen.image,
        // A volume at /workspace is a person's own word against an automatic one.
        workspace: if covered && !asked_for_dir(purpose) { Workspace::None } else { workspace },
        mounts,
        home: home.filter(|h| h.is_dir()),
        locale: settings.locale.clone(),
        lifetime,
    })?;
    lay_sizes_under(&mut spec, sizes);
    guard::keep_read_only(&mut spec, &allow_write)?;
    let about = about(config, flags);
    Ok(Prepared {
        spec,
        image_from: chosen.from,
        agent,
        notes,
        remarks: remark.into_iter().collect(),
        about,
        secrets,
    })
}

fn about(config: Config, flags: &SandboxArgs) -> About {
    About {
        name: config.name,
        backend: flags.backend.clone().or(config.backend),
        labels: config.labels,
        description: config.description,
        ttl: config.ttl,
        help_text: config.template.help_text.filter(|_| flags.template.is_some()),
    }
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

/// Flags win over the configuration; what is a list comes before its own.
fn lay_flags_over(ingredients: &mut Ingredients, flags: &SandboxArgs) {
    ingredients.profile = flags.profile.or(ingredients.profile);
    if flags.no_network {
        ingredients.network = Some(NetworkSwitch::Off);
    }
    lay_rules_over(ingredients, flags);
    ingredients.env.extend(flags.env.iter().cloned());
    ingredients.workdir = flags.workdir.clone().or_else(|| ingredients.workdir.take());
    ingredients.user = flags.user.map(Account::Numbered).or_else(|| ingredients.user.take());
    ingredients.memory = flags.memory.or(ingredients.memory);
    ingredients.cpus = flags.cpus.or(ingredients.cpus);
    ingredients.isolation = flags.isolation.unwrap_or(ingredients.isolation);
    ingredients.runtime = flags.runtime.clone().or_else(|| ingredients.runtime.take());
    ingredients.ports.splice(0..0, flags.publish.iter().copied());
    ingredients.allow_write.extend(flags.allow_write.iter().cloned());
}

/// Rules of flags come before those of the configuration, and take the place of none. Where flags take the network away,
/// what the configuration says about it is about nothing.
fn lay_rules_over(ingredients: &mut Ingredients, flags: &SandboxArgs) {
    let taken_away = (flags.no_network || flags.profile.is_some()) && !ingredients.has_network();
    if taken_away {
        ingredients.rules.clear();
        ingredients.otherwise = None;
    }
    ingredients.rules.splice(0..0, flags.rules.rules.iter().cloned());
    if flags.only_listed {
        ingredients.otherwise = Some(Otherwise::Deny);
    }
}

/// A size that somebody wrote stays; one of a template takes the place of the profile's.
fn lay_sizes_under(spec: &mut SandboxSpec, sizes: Limits) {
    fn under<T: Copy>(limit: &mut Option<Limit<T>>, size: Option<Limit<T>>) {
        if !limit.is_some_and(|limit| limit.is_required()) {
            *limit = size.or(*limit);
        }
    }
    let limits = &mut spec.policy.limits;
    under(&mut limits.memory, sizes.memory);
    under(&mut limits.cpus, sizes.cpus);
    under(&mut limits.pids, sizes.pids);
}

fn place(
    purpose: Purpose<'_>,
    ingredients: &Ingredients,
    cwd: &Path,
    home: Option<&Path>,
) -> Result<(Workspace, Option<String>)> {
    let profile = ingredients.profile.unwrap_or_default();
    let writable = workspace::mounts_cwd(profile, ingredients.mounts_cwd());
    let asked = &ingredients.workspace;
    let automatic = || {
        let automatic = workspace::automatic(cwd, home, writable);
        (asked.narrow(automatic.workspace), automatic.note)
    };
    match purpose {
        Purpose::Run { project: ProjectUse::None, .. } => Ok((Workspace::None, None)),
        Purpose::Create { dir: Some(dir) } => Ok((workspace::named(dir, cwd, home, profile)?, None)),
        _ => match asked.named(cwd, profile) {
            Some(named) => Ok((workspace::checked(named, home)?, None)),
            None if matches!(purpose, Purpose::Run { .. }) || writable || asked.share.is_some() => {
                Ok(automatic())
            }
            None => Ok((Workspace::None, None)),
        },
    }
}

/// The mounts of the flags and then those of the configuration, each of which must be there.
fn mounts(engine: &Engine, flags: &[String], config: &[VolumeArg], cwd: &Path) -> Result<Vec<Mount>> {
    let typed: Vec<VolumeArg> =
        flags.iter().map(|text| VolumeArg::parse(text, cwd)).collect::<Result<_>>()?;
    let own = config.iter().filter(|volume| !typed.iter().any(|other| other.target() == volume.target()));
    let mut mounts: Vec<Mount> = Vec::new();
    for volume in typed.iter().chain(own) {
        let mount = match volume {
            VolumeArg::Host(mount) => mount.clone(),
            VolumeArg::Managed { name, target, access } => engine.volume_mount(name, target, *access)?,
        };
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

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
