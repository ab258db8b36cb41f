//! `sandbox_run`: one command in a sandbox of its own.

use super::{
    super::output::{self, CommandOutput, Surroundings},
    Again, Call, Effect, Entry, World, command, input, output as schema, place,
};
use crate::{
    App,
    fields::{self, each, parsed},
    mcp::{answer::Answer, progress::Pulling},
    running::Prepared,
    wish::Wish,
};
use agentkernel_config::{Ingredients, Mode};
use agentkernel_engine::request::Running;
use agentkernel_model::{
    Result,
    command::EnvVar,
    egress::{EgressRule, Otherwise},
    image::ImageRef,
    path::GuestPath,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    secret::SecretBinding,
    size::{ByteSize, Cpus},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// How long a command has without `timeout_ms`.
const PATIENCE_MS: u64 = 30_000;

pub(super) const RUN: Entry = Entry {
    names: &["sandbox_run", "run_command"],
    title: "Run a command in a fresh sandbox",
    description: "Runs one command in a new sandbox, which is gone when the command ends: for code or commands that are not \
                  trusted, or that must not touch this machine. Answers with what it wrote and its exit code; a code that \
                  is not 0 is an error result. Give cwd to have a project at /workspace (a copy-on-write view). Use \
                  sandbox_create and sandbox_exec where files have to stay between commands.",
    effect: Effect::Adds,
    again: Again::More,
    world: World::Open,
    input: input::<Arguments>,
    output: schema::<CommandOutput>,
    run: |mut call| {
        Box::pin(async move {
            let arguments = call.read()?;
            run(call, arguments).await
        })
    },
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The program and its arguments, such as ["python3", "-c", "print(1)"]. A shell line is ["sh", "-c", "LINE"].
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// An OCI image such as python:3.12-alpine, or host: this machine's own programs. Without it, one is found from the
    /// command.
    #[serde(default)]
    image: Option<String>,
    /// A directory of this machine that /workspace is a view of, where the command starts. What is written there stays in
    /// the sandbox. Relative paths start where the server allows them to.
    #[serde(default)]
    cwd: Option<String>,
    /// Variables of the command's environment.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    /// What the command reads from its standard input; nothing without it.
    #[serde(default)]
    stdin: Option<String>,
    /// The command is ended after so many milliseconds; 30000 without it, 0 for no limit.
    #[serde(default)]
    timeout_ms: Option<u64>,
    /// What the sandbox may do: restrictive has no network and cannot write outside /tmp; moderate is the default;
    /// permissive is for trusted code.
    #[serde(default)]
    #[schemars(extend("enum" = ["permissive", "moderate", "restrictive"]))]
    profile: Option<String>,
    /// Whether it has a network; the profile's choice without it.
    #[serde(default)]
    network: Option<bool>,
    /// Rules about connections, in order, such as "allow api.example.com:443" or "block *.example.com".
    #[serde(default)]
    rules: Option<Vec<String>>,
    /// Whether nothing is let out but what rules and secrets list.
    #[serde(default)]
    only_listed: Option<bool>,
    /// Ports to reach from this machine while it runs, as HOST:SANDBOX.
    #[serde(default)]
    ports: Option<Vec<String>>,
    /// Secrets of the owner's vault that requests to a host carry, as NAME:HOST. The command never sees their values.
    #[serde(default)]
    secrets: Option<Vec<String>>,
    #[serde(default)]
    vcpus: Option<u16>,
    #[serde(default)]
    memory_mb: Option<u32>,
    /// Whether a sandbox that was kept warm may be used, where it is just like a new one; true without it.
    #[serde(default)]
    fast: Option<bool>,
    /// Whether this machine's own programs may take the place of a found image that cannot be had.
    #[serde(default)]
    host_fallback: Option<bool>,
    /// The coding agent that the sandbox is to suit: its service is all that can be reached, and the key of the owner's vault
    /// for it goes there. native is none.
    #[serde(default)]
    #[schemars(extend("enum" = Mode::NAMES))]
    compatibility_mode: Option<String>,
    /// The directory that the command starts in, inside.
    #[serde(default)]
    workdir: Option<String>,
}

impl Arguments {
    fn prepare(self, app: &App) -> Result<Prepared> {
        let stdin = self.stdin.unwrap_or_default().into_bytes();
        let command = command::spec(self.command, &stdin)?;
        let env = self.env.unwrap_or_default();
        let ingredients = Ingredients {
            image: self.image.map(|text| parsed::<ImageRef>("image", &text)).transpose()?,
            profile: self.profile.map(|text| parsed::<Profile>("profile", &text)).transpose()?,
            network: self.network.map(|on| if on { NetworkSwitch::On } else { NetworkSwitch::Off }),
            rules: each::<EgressRule>("rules", self.rules)?,
            otherwise: self.only_listed.unwrap_or_default().then_some(Otherwise::Deny),
            env: env.iter().map(|(key, value)| EnvVar::new(key, value)).collect::<Result<_>>()?,
            workdir: self.workdir.map(|text| parsed::<GuestPath>("workdir", &text)).transpose()?,
            cpus: self.vcpus.map(Cpus::from_whole),
            memory: self.memory_mb.map(ByteSize::from_mib),
            ports: each::<PublishedPort>("ports", self.ports)?,
            secrets: each::<SecretBinding>("secrets", self.secrets)?,
            ..Ingredients::default()
        };
        let mode =
            self.compatibility_mode.map(|text| parsed::<Mode>("compatibility_mode", &text)).transpose()?;
        let wish = Wish {
            program: Some(command.argv.program().to_owned()),
            host_fallback: self.host_fallback.unwrap_or_default(),
            agent: mode.and_then(Mode::agent),
            ingredients,
            workspace: place::view(app, self.cwd.as_deref())?,
        };
        let timeout = fields::timeout(Some(self.timeout_ms.unwrap_or(PATIENCE_MS)));
        Ok(Prepared { wish, command, backend: None, stdin, timeout, pool: fields::pool(self.fast) })
    }
}

async fn run(call: Call, arguments: Arguments) -> Result<Answer> {
    let prepared = arguments.prepare(&call.app)?;
    let seat = call.app.commands.take()?;
    let begun = call.app.begin(prepared, seat, Pulling::new(&call.reporter)).await?;
    let Running { process, choice } = begun.running;
    let surroundings = Surroundings {
        image: Some(begun.image),
        backend: Some(choice.backend.to_string()),
        notes: begun
            .notes
            .into_iter()
            .chain(choice.unenforced.iter().map(|limit| format!("not enforced: {limit}")))
            .collect(),
    };
    let answer = output::follow(process, begun.stdin, begun.timeout, &call.reporter, surroundings).await;
    drop(begun.seat);
    answer
}
