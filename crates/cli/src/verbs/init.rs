//! `agentkernel init`.

use crate::{context::Context, project::FOUND, settings, templates::Library};
use agentkernel_config::{
    init,
    template::{self, Specifier},
};
use agentkernel_model::{Error, Kind, Result, agent::Agent, name::SandboxName};
use clap::Args;
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
};

const EXAMPLES: &str = "\
Examples:
  agentkernel init
  agentkernel init --template python --name my-project

Most projects need no configuration: the image follows from the command and the project's files.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {
    /// The name of the sandbox; without it, that of the directory
    #[arg(short, long)]
    name: Option<SandboxName>,

    /// The coding agent that the project prefers: claude, gemini, codex or opencode
    #[arg(short, long)]
    agent: Option<Agent>,

    /// Start from a template
    #[arg(short, long)]
    template: Option<Specifier>,
}

impl Init {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let cwd = settings::current_dir()?;
        let engine = context.engine();
        let library = Library { engine: &engine, cwd: &cwd };
        let template = self.template.map(|name| template::resolve(&name, &library)).transpose()?;
        let name = match self.name {
            Some(name) => name,
            None => crate::branch::directory(&cwd)?,
        };
        let text = init::text(&name, self.agent, template.as_ref());
        let path = cwd.join(FOUND);
        // Never over a file that is there, whoever made it a moment ago.
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => {
                    Error::new(Kind::AlreadyExists, format!("there is an {FOUND} here already"))
                        .with_hint(format!("change it, or remove it first: rm {FOUND}"))
                }
                _ => Error::io(format!("cannot write {FOUND}"), e),
            })?;
        file.write_all(text.as_bytes()).map_err(|e| Error::io(format!("cannot write {FOUND}"), e))?;
        context.printer.text(format_args!(
            "wrote {FOUND} for sandbox '{name}'\nit is only found, until you trust it: agentkernel trust"
        ))?;
        Ok(0)
    }
}
