//! The network rules of a named sandbox, and changing them while it runs.

use crate::{
    audit::NetworkChange as Told, directories, engine::Engine, held, keeper, query, record,
    request::SandboxInfo,
};
use agentkernel_backend::admit::refused;
use agentkernel_model::{
    Error, Kind, Result,
    egress::{self, EgressRule, EgressRules, Otherwise},
    name::SandboxName,
    policy::{EffectivePolicy, Network},
};
use agentkernel_store::Writer;

/// What becomes other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkChange {
    /// They come before the rules that are there, in this order.
    pub added: Vec<EgressRule>,
    pub removed: Vec<EgressRule>,
    pub otherwise: Option<Otherwise>,
}

/// Changes the rules in the record and, where the sandbox runs, in its gateway.
pub(crate) async fn change(
    engine: &Engine,
    name: &SandboxName,
    change: &NetworkChange,
) -> Result<SandboxInfo> {
    let held = held::wait(engine, name).await?;
    record::check_finished(name, held.record.intent)?;
    let before = held.record.spec()?;
    let mut spec = before.clone();
    let rules = changed(name, &spec.policy, change)?;
    let told = (rules.rules.len(), rules.otherwise);
    spec.policy.network = Network::Rules(rules);
    let backend = engine.backend(engine.registry.find(held.record.backend.as_str())?)?;
    backend.admit(&spec).map_err(|refusals| refused(&backend.id(), &refusals))?;
    let database = directories::database(&engine.host);
    Writer::open(&database)?.set_spec(held.record.id, &spec)?;
    if held.dir.is_kept()?
        && let Err(error) = keeper::rules(&held.dir).await
    {
        // What the record says is what is enforced.
        Writer::open(&database)?.set_spec(held.record.id, &before)?;
        return Err(error);
    }
    let texts = |rules: &[EgressRule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    engine.audit.network_changed(
        name,
        &Told {
            rules: told.0,
            added: &texts(&change.added),
            removed: &texts(&change.removed),
            otherwise: told.1.as_str(),
        },
    );
    query::info(engine, name)
}

/// The rules of `policy` with `change`.
fn changed(name: &SandboxName, policy: &EffectivePolicy, change: &NetworkChange) -> Result<EgressRules> {
    let now = match &policy.network {
        Network::Rules(now) => now,
        Network::Off => {
            return Err(Error::new(Kind::Conflict, format!("the sandbox '{name}' has no network"))
                .with_hint(
                    "make one that has: without --no-network, and with another profile than restrictive",
                ));
        }
        Network::Open => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the network of '{name}' is its backend's own, which has no rules"),
            )
            .with_hint("make the sandbox on another backend; 'agentkernel doctor' names them"));
        }
    };
    for rule in &change.removed {
        if !now.rules.contains(rule) {
            return Err(Error::new(Kind::NotFound, format!("the sandbox '{name}' has no rule '{rule}'"))
                .with_hint(format!("'agentkernel sandbox network {name}' shows its rules")));
        }
    }
    let otherwise = change.otherwise.unwrap_or(now.otherwise);
    if otherwise == Otherwise::Public && !policy.secrets.is_empty() {
        return Err(Error::invalid(format!(
            "the sandbox '{name}' has secrets, and gets nowhere but where it is let"
        ))
        .with_hint("allow what it needs by name: --allow HOST"));
    }
    // A rule that is there already moves to the front.
    let gone = |rule: &EgressRule| change.removed.contains(rule) || change.added.contains(rule);
    let kept = now.rules.iter().filter(|rule| !gone(rule)).cloned();
    let rules: Vec<EgressRule> = change.added.iter().cloned().chain(kept).collect();
    egress::check_count(&rules)?;
    Ok(EgressRules { rules, otherwise })
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
