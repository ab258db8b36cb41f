//! `agentkernel agents`.

use crate::{
    context::Context,
    held::{self, Holdings},
    vaults::VaultArgs,
};
use agentkernel_engine::agents::{self, AgentReport};
use agentkernel_model::Result;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel agents
  agentkernel agents --json
  agentkernel run --agent claude claude -p 'explain this project'

An agent is installed when PATH has its program. A key is set when the environment or a vault has one of the secrets
that the agent can use, such as ANTHROPIC_API_KEY; it is never shown.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Agents {
    /// Answer with one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

impl Agents {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let holdings = Holdings::look(context, &VaultArgs::default())?;
        let path = &context.settings.host.surroundings.path;
        let found = agents::agents(path, |name| holdings.find(name).is_some() || held::in_environment(name));
        if self.json {
            context.printer.json(&found)?;
        } else {
            context.printer.text(table(&found))?;
        }
        if holdings.closed {
            context.printer.note(
                "the vault has a passphrase, so it was not looked into: 'agentkernel secret list' shows what is in it",
            );
        }
        Ok(0)
    }
}

/// Columns of 15 characters.
fn table(agents: &[AgentReport]) -> String {
    let line = |agent: &str, status: &str, key: &str| format!("{agent:<15} {status:<15} {key}");
    let mut lines = vec![line("AGENT", "STATUS", "API KEY"), "-".repeat(45)];
    lines.extend(agents.iter().map(|agent| {
        let status = if agent.installed { "installed" } else { "not installed" };
        line(agent.title, status, agent.api_key.as_str())
    }));
    lines.join("\n")
}
