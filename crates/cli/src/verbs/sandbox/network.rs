//! `agentkernel sandbox network`.

use crate::{context::Context, render, rules::RuleArgs};
use agentkernel_engine::{
    network::NetworkChange,
    request::{SandboxInfo, Status},
};
use agentkernel_model::{
    Error, Result,
    egress::{EgressRule, Otherwise},
    name::SandboxName,
    policy::Network as Rules,
    secret::SecretGrant,
    text::printable,
};
use clap::Args;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox network box                       shows the rules, in the order in which they are asked
  agentkernel sandbox network box --deny tracker.example.com
  agentkernel sandbox network box --allow '*.example.com:443' --only-listed
  agentkernel sandbox network box --allow 10.0.0.0/8:5432
  agentkernel sandbox network box --remove 'deny tracker.example.com'
  agentkernel sandbox network box --public              public addresses again, where no rule says otherwise

New rules come before those that are there. They hold at once, for connections that begin from then on and
requests that are read; other open connections go on. See 'agentkernel policy log NAME' for what was let out.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Network {
    /// The sandbox
    name: SandboxName,

    #[command(flatten)]
    rules: RuleArgs,

    /// Take a rule away, as it is shown: 'allow TARGET' or 'deny TARGET' (repeatable)
    #[arg(long, value_name = "RULE", value_parser = as_written)]
    remove: Vec<EgressRule>,

    /// Let nothing out but what a rule allows
    #[arg(long, conflicts_with = "public")]
    only_listed: bool,

    /// Let out to public addresses where no rule says otherwise
    #[arg(long)]
    public: bool,

    /// Only show the rules, which is what happens without any other flag
    #[arg(long, conflicts_with_all = ["allow", "deny", "remove", "only_listed", "public"])]
    show: bool,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

/// A rule that may be there: with a method that none may be made with any more, too.
fn as_written(text: &str) -> Result<EgressRule> {
    EgressRule::try_from(text.to_owned())
}

impl Network {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let otherwise = match (self.only_listed, self.public) {
            (true, _) => Some(Otherwise::Deny),
            (false, true) => Some(Otherwise::Public),
            (false, false) => None,
        };
        let change = NetworkChange { added: self.rules.rules, removed: self.remove, otherwise };
        let info = match self.show || change == NetworkChange::default() {
            true => context.block_on(engine.info(&self.name))?,
            false => context.block_on(engine.change_network(&self.name, &change))?,
        };
        let spec = info.spec.as_ref().ok_or_else(|| {
            Error::internal(format!("the record of sandbox '{}' cannot be read", info.name))
                .with_hint("update agentkernel")
        })?;
        let shown = Shown::of(&info, &spec.policy.network, &spec.policy.secrets);
        match self.json {
            true => context.printer.json(&shown),
            false => context.printer.text(shown.text(&spec.policy.network)),
        }
    }
}

/// The rules of one sandbox.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    sandbox: &'a SandboxName,
    status: Status,
    /// off, rules or open.
    network: &'static str,
    /// In the order in which they are asked.
    rules: &'a [EgressRule],
    /// What happens where none is about a connection; `null` where there are no rules to ask.
    otherwise: Option<Otherwise>,
    /// What is let out beside the rules, because it gets a secret.
    secrets: &'a [SecretGrant],
}

impl<'a> Shown<'a> {
    fn of(info: &'a SandboxInfo, network: &'a Rules, secrets: &'a [SecretGrant]) -> Self {
        let (word, rules, otherwise) = match network {
            Rules::Off => ("off", &[][..], None),
            Rules::Rules(egress) => ("rules", &egress.rules[..], Some(egress.otherwise)),
            Rules::Open => ("open", &[][..], None),
        };
        Self { sandbox: &info.name, status: info.status, network: word, rules, otherwise, secrets }
    }

    fn text(&self, network: &Rules) -> String {
        let mut text =
            format!("'{}' ({}): {}", self.sandbox, render::status(self.status), render::network(network));
        for (index, rule) in self.rules.iter().enumerate() {
            text += &format!("\n  {:>3}  {rule}", index + 1);
        }
        for grant in self.secrets {
            let host = grant
                .host
                .as_ref()
                .map_or("the hosts that the vault has for it".to_owned(), ToString::to_string);
            text += &format!("\n  {host} is let out, and gets {}", printable(&grant.name.to_string()));
        }
        text
    }
}
