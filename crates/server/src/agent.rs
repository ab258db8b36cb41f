//! Sandboxes of callers that suit a coding agent. The mode is that of `--agent`, without what is a person's own: keys are those
//! of the vault alone, and no file of a home is shown.

use crate::secrets::{About, SecretBroker};
use agentkernel_config::{
    Ingredients,
    mode::{self, Accommodated, Provisions},
};
use agentkernel_model::{
    Result,
    agent::{Agent, host_of},
    limits::Limit,
    secret::{Held, SecretBinding, SecretGrant, SecretName},
    spec::SandboxSpec,
};

/// Lays what `agent` needs under what the caller wrote. What comes back is said to people. Blocks.
///
/// # Errors
/// When the vault cannot be read.
pub(crate) fn furnish(
    agent: Agent,
    secrets: &dyn SecretBroker,
    ingredients: &mut Ingredients,
) -> Result<Option<String>> {
    let keys = keys(agent, &secrets.list()?);
    let done = ingredients.accommodate(agent, Provisions { keys, shown: Vec::new() })?;
    let title = agent.title();
    if done == Accommodated::WithoutNetwork {
        return Ok(Some(format!("without a network, {title} gets no key and reaches no service")));
    }
    let is_key = |binding: &SecretBinding| agent.keys().flatten().any(|name| name == *binding.name());
    if ingredients.secrets.iter().any(is_key) {
        return Ok(None);
    }
    Ok(Some(format!("the vault lists no key of {title} for its service, so it has to log in inside")))
}

/// Gives `spec` the memory that agents need, where nobody said how much.
pub(crate) fn lay_memory_under(spec: &mut SandboxSpec) {
    let memory = &mut spec.policy.limits.memory;
    if !memory.is_some_and(|limit| limit.is_required()) {
        *memory = Some(Limit::Default(mode::MEMORY));
    }
}

/// Of each service that `agent` knows, the first key that the vault lists the service's host for.
fn keys(agent: Agent, kept: &[About]) -> Vec<SecretBinding> {
    let bound = |name: &SecretName| {
        let host = host_of(name)?;
        let listed = |about: &&About| about.name == *name && about.hosts.iter().any(|one| one.covers(&host));
        kept.iter().find(listed)?;
        let grant = SecretGrant { name: name.clone(), held: Held::Vault, host: Some(host), header: None };
        Some(SecretBinding::from(&grant))
    };
    agent.keys().filter_map(|names| names.iter().find_map(bound)).collect()
}
