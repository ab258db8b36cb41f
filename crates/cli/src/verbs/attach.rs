//! `agentkernel attach`.

use super::report;
use crate::{
    args::IoArgs,
    context::Context,
    pump::{self, Detach, InputFrom, OutputTo, Plan},
    terminal,
};
use agentkernel_model::{
    Error, Result,
    command::{Argv, EnvVar, ExecSpec, Stdio, User},
    name::SandboxName,
    path::GuestPath,
};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel attach my-project
  agentkernel attach -e EDITOR=vi my-project
  agentkernel attach my-project -- bash -l

ctrl-p ctrl-q leaves the shell, which goes on inside; nobody can attach to it again: the next attach opens a new
one. exit ends it. The sandbox goes on either way.";

/// bash where there is one; whatever answers to sh is everywhere.
const SHELL: [&str; 3] =
    ["/bin/sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec /bin/sh"];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Attach {
    /// Set an environment variable for the shell (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<EnvVar>,

    /// The working directory inside, instead of the sandbox's own
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<GuestPath>,

    /// Run as this user inside, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<User>,

    /// The sandbox
    name: SandboxName,

    /// What to run instead of a shell
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Attach {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        if !terminal::stdin_is_terminal() {
            return Err(Error::invalid("attach needs a terminal, and stdin is none")
                .with_hint(format!("agentkernel exec {} -- COMMAND", self.name)));
        }
        let words = if self.command.is_empty() { SHELL.map(str::to_owned).to_vec() } else { self.command };
        let io = IoArgs { tty: true, no_stdin: false };
        let mut env = report::terminal_env(context, &io, &self.env);
        env.extend(self.env);
        let command = ExecSpec {
            argv: Argv::new(words)?,
            env,
            workdir: self.workdir,
            user: self.user,
            stdio: Stdio::Terminal(terminal::size()),
        };
        let plan =
            Plan { output: OutputTo::Caller, input: InputFrom::Terminal(Detach::OnKeys), timeout: None };
        let engine = context.engine();
        context.block_on(async {
            let process = engine.attach(&self.name, &command).await?;
            let ended = pump::drive(process, plan).await?;
            report::finish(context, ended, None)
        })
    }
}
