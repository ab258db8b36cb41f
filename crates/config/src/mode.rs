//! Sandboxes that suit a coding agent: what `--agent` and `agent.compatibility_mode` come to.
//!
//! A mode lays its wishes under everything that somebody wrote: a rule that denies comes before those of the mode, a variable
//! keeps its value, a network that was taken away stays away.

use crate::Ingredients;
use agentkernel_model::{
    Error, Result,
    agent::{Agent, host_of},
    command::EnvVar,
    egress::{EgressRule, Otherwise, Verdict},
    mount::{Mount, VolumeArg},
    policy::{NetworkSwitch, Profile},
    secret::{HostPattern, PLACEHOLDER, SecretBinding, SecretName},
    size::ByteSize,
    suggest,
    text::printable,
};
use std::{fmt, str::FromStr};

/// What `agent.compatibility_mode` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// None, whichever agent is preferred.
    Native,
    Of(Agent),
}

impl Mode {
    /// As they are written.
    pub const NAMES: [&'static str; 5] = ["native", "claude", "gemini", "codex", "opencode"];

    #[must_use]
    pub const fn agent(self) -> Option<Agent> {
        match self {
            Self::Native => None,
            Self::Of(agent) => Some(agent),
        }
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "native" {
            return Ok(Self::Native);
        }
        text.parse().map(Self::Of).map_err(|_| {
            Error::invalid(format!("'{}' is no mode", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.agent().map_or("native", Agent::as_str))
    }
}

/// The memory that a sandbox for an agent may use where nobody says how much: theirs are no small programs.
pub const MEMORY: ByteSize = ByteSize::from_mib(2048);

/// What a person has for an agent.
#[derive(Debug, Clone, Default)]
pub struct Provisions {
    /// At most one for each service.
    pub keys: Vec<SecretBinding>,
    /// Instructions of a person's own, which the sandbox may read.
    pub shown: Vec<Mount>,
}

/// How far a mode takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accommodated {
    Whole,
    /// Somebody took the network away, and with it rules and keys.
    WithoutNetwork,
}

impl Ingredients {
    /// Lays under what was written what `agent` needs: the default profile, a network that leads to its services and nowhere
    /// else, its variables, keys that never go inside, and read-only instructions.
    ///
    /// # Errors
    /// Never for agents whose facts are well formed.
    pub fn accommodate(&mut self, agent: Agent, provisions: Provisions) -> Result<Accommodated> {
        self.profile.get_or_insert(Profile::Moderate);
        let mut env: Vec<EnvVar> =
            agent.env().iter().map(|(key, value)| EnvVar::new(key, value)).collect::<Result<_>>()?;
        self.volumes.extend(provisions.shown.into_iter().map(VolumeArg::Host));
        let online = self.network != Some(NetworkSwitch::Off);
        if online {
            // The restrictive profile is none that an agent could work in, and stays in all else.
            self.network = Some(NetworkSwitch::On);
            env.extend(self.connect(agent, provisions.keys)?);
        }
        let own = |var: &EnvVar| !self.env.iter().any(|other| other.key() == var.key());
        env.retain(own);
        self.env.splice(0..0, env);
        Ok(if online { Accommodated::Whole } else { Accommodated::WithoutNetwork })
    }

    /// Binds `keys` and allows the hosts of their services, those of all that the agent knows where it has no key. What
    /// comes back are variables that stand for a key under another name.
    fn connect(&mut self, agent: Agent, keys: Vec<SecretBinding>) -> Result<Vec<EnvVar>> {
        let mut env = Vec::new();
        let mut hosts: Vec<HostPattern> = Vec::new();
        for names in agent.keys() {
            let there = |name: &SecretName| self.secrets.iter().any(|one| one.name() == name);
            let host = names.first().and_then(host_of);
            let given = names.iter().find(|name| there(name)).cloned();
            // Two keys for one host would be one too many.
            let taken = self.secrets.iter().any(|one| one.host().is_some() && one.host() == host.as_ref());
            let key = keys.iter().find(|key| names.contains(key.name())).filter(|_| !taken);
            let bound = given.or_else(|| {
                let key = key?;
                self.secrets.push(key.clone());
                Some(key.name().clone())
            });
            let Some(bound) = bound else { continue };
            hosts.extend(host);
            let others = names.first().filter(|first| **first != bound).map(SecretName::as_str);
            for name in others.into_iter().chain(agent.also().iter().copied()) {
                env.push(EnvVar::new(name, PLACEHOLDER)?);
            }
        }
        if hosts.is_empty() {
            hosts = agent.hosts().collect();
        }
        for host in hosts {
            self.rules.push(EgressRule::parse(Verdict::Allow, &format!("{host}:443"))?);
        }
        self.otherwise.get_or_insert(Otherwise::Deny);
        Ok(env)
    }
}

#[cfg(test)]
#[path = "mode_tests.rs"]
mod tests;
