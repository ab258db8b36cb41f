//! `agentkernel exec`.

use super::report::{self, Surroundings};
use crate::{args::IoArgs, context::Context, pump};
use agentkernel_model::{
    Result,
    command::{Argv, EnvVar, ExecSpec, User},
    name::SandboxName,
    path::GuestPath,
    size::parse_duration,
};
use clap::Args;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  agentkernel exec my-project -- npm test
  agentkernel exec -w /workspace/api -e CI=1 my-project -- pytest -q
  agentkernel exec -t my-project -- htop
  agentkernel exec my-project -- sh -c 'cat > notes.txt' < notes.txt
  agentkernel exec -d my-project -- npm run dev     goes on when this terminal is closed

A detached command ends with the sandbox. See 'agentkernel sandbox exec-list', 'exec-logs' and 'exec-kill'.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Exec {
    #[command(flatten)]
    io: IoArgs,

    /// Set an environment variable for the command (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    env: Vec<EnvVar>,

    /// The working directory inside, instead of the sandbox's own
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<GuestPath>,

    /// Run as this user inside, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<User>,

    /// End the command after this time, such as 30s or 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Begin it and leave it to the sandbox, with empty input; print its id and how to find it again
    #[arg(short, long, conflicts_with_all = ["tty", "timeout"])]
    detach: bool,

    /// Answer with one JSON object when the command has ended, or with --detach when it has begun
    #[arg(long, conflicts_with = "tty")]
    pub(super) json: bool,

    /// The sandbox
    name: SandboxName,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let mut env = report::terminal_env(context, &self.io, &self.env);
        env.extend(self.env);
        let command = ExecSpec {
            argv: Argv::new(self.command)?,
            env,
            workdir: self.workdir,
            user: self.user,
            stdio: report::stdio(&self.io),
        };
        let engine = context.engine();
        if self.detach {
            let begun = context.block_on(engine.exec_detached(&self.name, &command))?;
            let told =
                if self.json { context.printer.json(&begun) } else { context.printer.pretty_json(&begun) };
            return told.map(|()| 0);
        }
        context.block_on(async {
            let process = engine.exec(&self.name, &command).await?;
            let ended = pump::drive(process, report::plan(&self.io, self.json, self.timeout)).await?;
            let surroundings =
                Surroundings { sandbox: Some(self.name.to_string()), ..Surroundings::default() };
            report::finish(context, ended, self.json.then_some(&surroundings))
        })
    }
}
