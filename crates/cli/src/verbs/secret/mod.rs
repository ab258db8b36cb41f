//! `agentkernel secret VERB`.

mod delete;
mod get;
mod list;
mod set;

use crate::{context::Context, hidden};
use agentkernel_engine::clock;
use agentkernel_model::{
    Error, Kind, Result,
    secret::{HeaderName, HostPattern, SecretName},
    suggest,
};
use agentkernel_trust::{Meta, Vault, VaultKind};
use clap::Subcommand;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel secret set ANTHROPIC_API_KEY
  agentkernel secret set MY_KEY --host api.example.com < key.txt
  agentkernel secret get ANTHROPIC_API_KEY
  agentkernel secret list
  agentkernel secret delete ANTHROPIC_API_KEY

Secrets are kept encrypted, each with the hosts that it may go to.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Keep a secret, or give one another value
    Set(set::Set),
    /// Print the value of a secret
    Get(get::Get),
    /// Show which secrets there are, and where they may go; never a value
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Forget a secret
    #[command(visible_alias = "rm")]
    Delete(delete::Delete),
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Set(verb) => verb.json,
            Self::Get(_) => false,
            Self::List(verb) => verb.json,
            Self::Delete(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        hidden::keep_memory_private()?;
        match self {
            Self::Set(verb) => verb.execute(context),
            Self::Get(verb) => verb.execute(context),
            Self::List(verb) => verb.execute(context),
            Self::Delete(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}

/// A secret as programs see it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a SecretName,
    vault: &'static str,
    /// None: wherever a binding says.
    hosts: &'a [HostPattern],
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'a HeaderName>,
    /// Absent where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_at: Option<String>,
}

impl<'a> Row<'a> {
    fn new(vault: VaultKind, meta: &'a Meta) -> Self {
        Self {
            name: meta.name(),
            vault: vault.as_str(),
            hosts: meta.hosts(),
            header: meta.header(),
            set_at: set_at(meta),
        }
    }
}

fn set_at(meta: &Meta) -> Option<String> {
    let millis = i64::try_from(meta.set_at()).ok().and_then(|seconds| seconds.checked_mul(1000));
    millis.filter(|millis| *millis > 0).map(clock::rfc3339)
}

fn hosts(meta: &Meta) -> String {
    let hosts: Vec<String> = meta.hosts().iter().map(ToString::to_string).collect();
    if hosts.is_empty() { "any".to_owned() } else { hosts.join(", ") }
}

/// No vault that was asked has it; names the one that may have been meant.
fn missing(name: &SecretName, vaults: &[Box<dyn Vault>]) -> Error {
    let listed = vaults.iter().filter_map(|vault| vault.list().ok()).flatten();
    let names: Vec<String> = listed.map(|meta| meta.name().to_string()).collect();
    let hint = match suggest::nearest(name.as_str(), names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "agentkernel secret list".to_owned(),
    };
    let kinds: Vec<&str> = vaults.iter().map(|vault| vault.kind().as_str()).collect();
    let asked =
        if let [kind] = kinds.as_slice() { format!("the {kind} vault") } else { "any vault".to_owned() };
    Error::new(Kind::NotFound, format!("there is no secret '{name}' in {asked}")).with_hint(hint)
}
