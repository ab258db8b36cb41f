//! `--agent`: which coding agent a sandbox is to suit, and what of this person's it gets.

use crate::{
    args::SandboxArgs,
    configuration::Loaded,
    context::Context,
    held::{self, Holdings},
    secrets::Wanted,
    vaults::VaultArgs,
};
use agentkernel_config::{
    Account, Config, Ingredients, Mode,
    mode::{Accommodated, Provisions},
};
use agentkernel_model::{
    Result,
    agent::{Agent, host_of},
    mount::{Access, Mount, VolumeArg},
    secret::{Held, HostPattern, SecretBinding, SecretGrant, SecretName},
    spec::Lifetime,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The agent that a flag, or a configuration that somebody trusts, asks for. `trusted` are such configurations, the first
/// of which counts; `program` is what is to be run: an agent that is only preferred counts when it is that.
pub(crate) fn asked<'c>(
    flag: Option<Agent>,
    trusted: impl Iterator<Item = &'c Config> + Clone,
    program: Option<&str>,
) -> Option<Agent> {
    let mode = || trusted.clone().find_map(|config| config.mode);
    let preferred = || {
        let agent = trusted.clone().find_map(|config| config.agent)?;
        let name = Path::new(program?).file_name()?;
        (name == agent.program()).then_some(agent)
    };
    flag.or_else(|| match mode() {
        Some(mode) => Mode::agent(mode),
        None => preferred(),
    })
}

/// Gives `ingredients`, flags included, what the agent of `loaded` needs, and `secrets` its keys. What comes back is
/// said to people.
///
/// # Errors
/// When a vault cannot be read.
pub(crate) fn furnish(
    context: &Context,
    flags: &SandboxArgs,
    loaded: &Loaded,
    ingredients: &mut Ingredients,
    secrets: &mut Wanted,
    lifetime: Lifetime,
) -> Result<Vec<String>> {
    let Some(agent) = loaded.agent else { return Ok(Vec::new()) };
    let vault = &flags.secrets.vault;
    let holdings = Holdings::look(context, vault)?;
    let found = keys(agent, &holdings, vault);
    let shown = instructions(agent, context.settings.home.as_deref(), flags, ingredients);
    // A secret that somebody named comes from where they say.
    let named = |name: &SecretName| secrets.bindings.iter().any(|one| one.name() == name);
    let of_environment = found.iter().filter(|key| key.of_environment).map(|key| key.binding.name().clone());
    let of_environment: Vec<SecretName> = of_environment.filter(|name| !named(name)).collect();
    let keys = found.iter().map(|key| key.binding.clone()).collect();
    let mut notes = Vec::new();
    match ingredients.accommodate(agent, Provisions { keys, shown })? {
        Accommodated::WithoutNetwork => {
            notes.push(format!("without a network, {} gets no key and reaches no service", agent.title()));
        }
        Accommodated::Whole => {
            let of_agent = |one: &SecretBinding| agent.keys().flatten().any(|name| name == *one.name());
            if !ingredients.secrets.iter().any(of_agent) {
                notes.push(without_key(agent, holdings.closed));
            }
        }
    }
    secrets.bindings.clone_from(&ingredients.secrets);
    let bound = |name: &SecretName| secrets.bindings.iter().any(|one| one.name() == name);
    secrets.of_environment = of_environment.into_iter().filter(bound).collect();
    if lifetime == Lifetime::Named {
        notes.extend(secrets.of_environment.iter().map(|name| {
            format!(
                "{name} is in your environment only, and is looked up at each start: start with --vault env, or keep it \
                 with 'agentkernel secret set {name}'"
            )
        }));
    }
    Ok(notes)
}

fn without_key(agent: Agent, closed: bool) -> String {
    let names: Vec<String> =
        agent.keys().filter_map(|names| names.first().map(ToString::to_string)).collect();
    let (title, first) = (agent.title(), names.first().cloned().unwrap_or_default());
    match closed {
        true => format!(
            "the vault has a passphrase, so it was not looked into for a key of {title}: name it with --secret {first}"
        ),
        false => format!(
            "there is no key for {title} ({}), so it has to log in inside; keep one with 'agentkernel secret set {first}'",
            names.join(", ")
        ),
    }
}

/// A key that this person has.
#[derive(Debug)]
struct Key {
    binding: SecretBinding,
    of_environment: bool,
}

/// The keys that `agent` can use, of the vaults first.
fn keys(agent: Agent, holdings: &Holdings, vault: &VaultArgs) -> Vec<Key> {
    // A vault that was named is the only one.
    let environment = vault.vault.is_none();
    let one = |names: Vec<SecretName>| {
        let kept = names.iter().find_map(|name| holdings.find(name)).map(|kept| {
            let host = host_of(&kept.name);
            // Where its vault lets it go elsewhere only, it goes there.
            let allowed = |host: &_| kept.hosts.is_empty() || kept.hosts.iter().any(|one| one.covers(host));
            Key { binding: of_vault(&kept.name, host.filter(allowed)), of_environment: false }
        });
        kept.or_else(|| {
            let name = names.iter().find(|name| environment && held::in_environment(name))?;
            Some(Key { binding: of_vault(name, host_of(name)), of_environment: true })
        })
    };
    agent.keys().filter_map(one).collect()
}

fn of_vault(name: &SecretName, host: Option<HostPattern>) -> SecretBinding {
    SecretBinding::from(&SecretGrant { name: name.clone(), held: Held::Vault, host, header: None })
}

/// Where root's home is inside.
const HOME_INSIDE: &str = "/root";

/// The instructions of `agent` that are in `home`, read-only at the same place of root's home. None for another user, who
/// could not read them, and none below something that is mounted: it would be made in it.
fn instructions(
    agent: Agent,
    home: Option<&Path>,
    flags: &SandboxArgs,
    ingredients: &Ingredients,
) -> Vec<Mount> {
    let is_root = match &ingredients.user {
        None => true,
        Some(Account::Numbered(user)) => user.is_root(),
        Some(Account::Named(name)) => name == "root",
    };
    let Some(home) = home.filter(|_| is_root) else { return Vec::new() };
    let typed = flags.volume.iter().filter_map(|text| VolumeArg::parse(text, home).ok());
    let mounted: Vec<PathBuf> = typed
        .chain(ingredients.volumes.iter().cloned())
        .map(|volume| PathBuf::from(volume.target().as_str()))
        .collect();
    let mount = |path: &&str| {
        let target = format!("{HOME_INSIDE}/{path}");
        let free =
            !mounted.iter().any(|other| Path::new(&target).starts_with(other) || other.starts_with(&target));
        let source = fs::canonicalize(home.join(path)).ok().filter(|_| free)?;
        Some(Mount { source, target: target.parse().ok()?, access: Access::ReadOnly })
    };
    agent.instructions().iter().filter_map(mount).collect()
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
