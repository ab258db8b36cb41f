//! `sandbox_exec`: a command in a named sandbox.

use super::{
    super::output::{self, CommandOutput, Surroundings},
    Again, Call, Effect, Entry, World, command, input, output as schema,
};
use crate::{
    fields::{self, parsed},
    mcp::answer::Answer,
};
use agentkernel_model::{Result, name::SandboxName};
use schemars::JsonSchema;
use serde::Deserialize;

/// How long a command has without `timeout_ms`.
const PATIENCE_MS: u64 = 600_000;

pub(super) const EXEC: Entry = Entry {
    names: &["sandbox_exec", "exec_in_sandbox"],
    title: "Run a command in a named sandbox",
    description: "Runs a command in a sandbox that sandbox_create made, and waits for it. Files and background processes of \
                  earlier commands are there. Answers with what it wrote and its exit code; a code that is not 0 is an \
                  error result.",
    effect: Effect::Changes,
    again: Again::More,
    world: World::Open,
    input: input::<Arguments>,
    output: schema::<CommandOutput>,
    run: |mut call| {
        Box::pin(async move {
            let arguments = call.read()?;
            exec(call, arguments).await
        })
    },
};

/// What a command in a named sandbox is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The sandbox's name.
    name: String,
    /// The program and its arguments. A shell line is ["sh", "-c", "LINE"].
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// Variables of the command's environment, each as KEY=VALUE.
    #[serde(default)]
    env: Option<Vec<String>>,
    /// The directory that it starts in, inside.
    #[serde(default)]
    workdir: Option<String>,
    /// Whether it runs as root inside. Only where the server was started with --allow-sudo.
    #[serde(default)]
    sudo: Option<bool>,
    /// What the command reads from its standard input; nothing without it.
    #[serde(default)]
    stdin: Option<String>,
    /// The command is ended after so many milliseconds; 600000 without it, 0 for no limit.
    #[serde(default)]
    timeout_ms: Option<u64>,
}

async fn exec(call: Call, arguments: Arguments) -> Result<Answer> {
    let name: SandboxName = parsed("name", &arguments.name)?;
    let stdin = arguments.stdin.unwrap_or_default().into_bytes();
    let manner = command::Manner { env: arguments.env, workdir: arguments.workdir, sudo: arguments.sudo };
    let command = command::named(&call.app, arguments.command, &stdin, manner)?;
    let timeout = fields::timeout(Some(arguments.timeout_ms.unwrap_or(PATIENCE_MS)));
    let seat = call.app.commands.take()?;
    let process = call.app.engine.exec(&name, &command).await?;
    let answer = output::follow(process, stdin, timeout, &call.reporter, Surroundings::default()).await;
    drop(seat);
    answer
}
