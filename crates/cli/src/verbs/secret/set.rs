//! `agentkernel secret set`.

use super::{Row, hosts};
use crate::{
    context::Context,
    hidden::{self, Word},
    vaults::{self, VaultArgs},
};
use agentkernel_engine::clock;
use agentkernel_model::{
    Error, Result,
    secret::{HeaderName, HostPattern, Secret, SecretName},
};
use agentkernel_trust::{Change, Protection, Put, Vault, VaultKind};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel secret set ANTHROPIC_API_KEY
  agentkernel secret set MY_KEY --host api.example.com --host '*.example.org'
  pass show api/key | agentkernel secret set MY_KEY --header X-Api-Key
  agentkernel secret set GITHUB_TOKEN --vault keychain

A key of a well-known service may go to that service's hosts unless --host or --any-host says otherwise. A secret that gets
another value keeps its hosts and its header.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Set {
    /// Its name, as of an environment variable
    name: SecretName,

    /// Its value, which others then see in the list of processes; '-' is stdin. Without it, it is asked for, or read from stdin
    value: Option<Word>,

    /// Read the value from stdin, also from a terminal
    #[arg(long, conflicts_with = "value")]
    stdin: bool,

    /// A host that it may go to: api.example.com or '*.example.com' (repeatable)
    #[arg(long, value_name = "HOST", conflicts_with = "any_host")]
    host: Vec<HostPattern>,

    /// It may go to whichever host a sandbox is told
    #[arg(long)]
    any_host: bool,

    /// The header that carries it alone, instead of the one that its service wants
    #[arg(long, value_name = "NAME")]
    header: Option<HeaderName>,

    /// What protects a new file vault: keychain, keyfile or passphrase; without it the keychain where one is ready
    #[arg(long, value_name = "KIND")]
    key: Option<Protection>,

    #[command(flatten)]
    vault: VaultArgs,

    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    replaced: bool,
}

impl Set {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let kind = self.vault.vault.unwrap_or(VaultKind::File);
        if self.key.is_some() && kind != VaultKind::File {
            return Err(Error::invalid(format!(
                "--key protects the file vault, and this is for the {kind} vault"
            ))
            .with_hint("leave out --key or --vault"));
        }
        let change = Change {
            value: self.value(context)?,
            hosts: match (self.any_host, self.host.is_empty()) {
                (true, _) => Some(Vec::new()),
                (false, false) => Some(self.host),
                (false, true) => None,
            },
            name: self.name,
            header: self.header,
            set_at: u64::try_from(clock::now() / 1000).unwrap_or(0),
            by_caller: false,
        };
        let put = if kind == VaultKind::File {
            let vault = self.vault.file(context, self.key);
            let fresh = vault.protection()?.is_none();
            let put = vault.put(change)?;
            if fresh {
                vaults::tell(context, &vault)?;
            }
            put
        } else {
            self.vault.one(kind, context, &[]).put(change)?
        };
        if self.json {
            let row = Row::new(kind, &put.meta);
            return context.printer.json(&Answer { row, replaced: put.replaced });
        }
        context.printer.text(said(kind, &put))
    }

    fn value(&self, context: &Context) -> Result<Secret> {
        match &self.value {
            Some(word) if word.text() == "-" => hidden::piped(),
            Some(word) => {
                context.printer.note(
                    "a value on the command line is seen in the list of processes and in your shell's history; pipe it in, \
                     or leave it out and type it",
                );
                Secret::new(word.text().as_bytes().to_vec())
            }
            None if self.stdin || !hidden::typed_on() => hidden::piped(),
            None => hidden::ask(&format!("Value of {}", self.name)),
        }
    }
}

fn said(kind: VaultKind, put: &Put) -> String {
    let (verb, name) = (if put.replaced { "replaced" } else { "set" }, put.meta.name());
    let mut text = format!("{verb} secret '{name}' in the {kind} vault");
    if put.meta.hosts().is_empty() {
        text += "\nit may go to whichever host a sandbox is told";
    } else {
        text += &format!("\nit may go to {}", hosts(&put.meta));
    }
    if let Some(header) = put.meta.header() {
        text += &format!(", in header '{header}'");
    }
    text
}
