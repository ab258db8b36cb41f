//! `agentkernel run`.

use super::report::{self, Surroundings};
use crate::{
    args::{IoArgs, SandboxArgs},
    branch,
    context::Context,
    image::Having,
    pump, render, secrets, settings,
    spec::{self, Prepared, ProjectUse, Purpose},
    traces::part,
};
use agentkernel_backend::Process;
use agentkernel_engine::{
    Engine, memory,
    request::{Choice, CreateRequest, Pool, RunRequest, SandboxInfo},
};
use agentkernel_model::{
    Kind, Result,
    agent::Agent,
    command::{Argv, ExecSpec},
    id::SandboxId,
    name::SandboxName,
    size::parse_duration,
    spec::{Lifetime, SandboxSpec},
};
use clap::Args;
use serde::Serialize;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  agentkernel run python3 -c \"print('Hello from sandbox!')\"
  agentkernel run npm test                             sees a throw-away view of this directory
  agentkernel run --no-network -- curl example.com     fails: there is no network
  agentkernel run --profile restrictive python3 app.py
  agentkernel run --deny tracker.example.com npm test
  agentkernel run --only-listed --allow '*.pypi.org' --allow files.pythonhosted.org pip download x
  agentkernel run --memory 2GB --timeout 10m cargo build
  agentkernel run --json -- sh -c 'echo out; echo err >&2'
  agentkernel run --image ubuntu:24.04 apt-get --version
  agentkernel run --template python-ci pytest
  agentkernel run --build npm test                     in the image of ./Dockerfile
  agentkernel run --branch npm test                    in a sandbox that this git branch keeps
  agentkernel run -S OPENAI_API_KEY:api.openai.com python3 agent.py
                                                       the key goes there, and never inside
  agentkernel run --agent claude claude -p 'fix the tests'
                                                       with its key, and no way to other hosts
  agentkernel run --dry-run npm test                   shows what would be done
  tar c src | agentkernel run wc -c                    stdin passes through

agentkernel's own flags stand before the command.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    sandbox: SandboxArgs,

    #[command(flatten)]
    io: IoArgs,

    /// Keep the sandbox, and say how to enter and remove it
    #[arg(short, long)]
    keep: bool,

    /// Run in the sandbox of the git branch that is checked out, which is made when there is none, and stays
    #[arg(long, conflicts_with = "keep")]
    branch: bool,

    /// End the command after this time, such as 30s or 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Do not show the current directory at /workspace
    #[arg(long)]
    no_workspace: bool,

    /// Answer with one JSON object when the command has ended
    #[arg(long, conflicts_with = "tty")]
    pub(super) json: bool,

    /// Show the resolved sandbox and policy, and run nothing
    #[arg(long)]
    dry_run: bool,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Run {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let argv = Argv::new(self.command.clone())?;
        let lifetime = if self.keep || self.branch { Lifetime::Named } else { Lifetime::Ephemeral };
        let project = if self.no_workspace { ProjectUse::None } else { ProjectUse::Automatic };
        let purpose = Purpose::Run { program: argv.program(), project, lifetime };
        let engine = context.engine();
        let having = match self.dry_run {
            true => Having::Tell,
            false => Having::Get { printer: &context.printer, json: self.json },
        };
        let prepared = part!("prepare", spec::prepare(&engine, context, &self.sandbox, purpose, having))?;
        let command = ExecSpec {
            env: report::terminal_env(context, &self.io, &self.sandbox.env),
            argv,
            workdir: None,
            user: None,
            stdio: report::stdio(&self.io),
        };
        let backend = prepared.about.backend.clone();
        if self.dry_run {
            let choice = context.block_on(engine.choose(&prepared.spec, backend.as_deref()))?;
            return self.show(context, &prepared, &command, choice);
        }
        if !self.json {
            context.tell(&prepared.notes, &prepared.remarks);
        }
        if self.keep || self.branch {
            return context.block_on(self.run_kept(context, &engine, prepared, command));
        }
        let values = prepared.secrets.source(context, &self.sandbox.secrets.vault);
        let Prepared { spec, mut notes, .. } = prepared;
        context.block_on(async {
            let image = spec.image.to_string();
            let running = engine.run(RunRequest { spec, command, backend, values, pool: Pool::Use }).await?;
            let choice = running.choice;
            if !self.json {
                tell_choice(context, &choice.notes, &choice.unenforced);
            }
            notes.extend(choice.notes);
            let surroundings = Surroundings {
                sandbox: None,
                backend: Some(choice.backend.to_string()),
                image: Some(image),
                notes,
                unenforced: choice.unenforced,
            };
            self.pump(context, running.process, &surroundings).await
        })
    }

    async fn pump(&self, context: &Context, process: Process, surroundings: &Surroundings) -> Result<u8> {
        let ended = pump::drive(process, report::plan(&self.io, self.json, self.timeout)).await?;
        report::finish(context, ended, self.json.then_some(surroundings))
    }

    /// A sandbox that stays: the long road of create, start and exec, under a name of its own.
    async fn run_kept(
        &self,
        context: &Context,
        engine: &Engine,
        prepared: Prepared,
        command: ExecSpec,
    ) -> Result<u8> {
        let name = if self.branch { branch::name(&settings::current_dir()?)? } else { random_name()? };
        let notes = prepared.notes.clone();
        let wanted = prepared.secrets.clone();
        // Before anything is made: what is missing is said first.
        let given = wanted.values(context, &self.sandbox.secrets.vault)?;
        let (info, made) = kept(engine, &name, prepared).await?;
        if !given.is_empty() {
            // What comes now clones nothing from this process.
            memory::keep_unseen()?;
        }
        let vault = &self.sandbox.secrets.vault;
        let values = match made {
            Made::Now => secrets::keep(context, engine, &info, &wanted, vault).await.map(|()| given),
            Made::Before => secrets::of_existing(context, engine, &info, &wanted, vault),
        };
        let started = match values {
            Ok(values) => engine.start_made(&info, &values).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            // Nobody asked for a sandbox that cannot start. The first error is the one to tell.
            if made == Made::Now {
                let _ = engine.remove_made(&info).await;
            }
            return Err(error);
        }
        let image = info.image.clone();
        if !self.json {
            tell_choice(context, &[], &info.unenforced);
        }
        let surroundings = Surroundings {
            sandbox: Some(name.to_string()),
            backend: Some(info.backend.to_string()),
            image: Some(image),
            notes,
            unenforced: info.unenforced,
        };
        let result = match engine.exec(&name, &command).await {
            Ok(process) => self.pump(context, process, &surroundings).await,
            Err(error) => Err(error),
        };
        // Also after a failure: the sandbox is there.
        if !self.json && made == Made::Now {
            context.printer.note(format_args!(
                "kept as '{name}'; enter it with 'agentkernel attach {name}', \
                 remove it with 'agentkernel sandbox remove {name}'"
            ));
        }
        result
    }

    fn show(&self, context: &Context, prepared: &Prepared, command: &ExecSpec, choice: Choice) -> Result<u8> {
        let notes: Vec<String> =
            prepared.notes.iter().chain(&prepared.remarks).cloned().chain(choice.notes).collect();
        if self.json {
            context.printer.json(&DryRun {
                dry_run: true,
                backend: choice.backend.to_string(),
                command: command.argv.words(),
                image_from: &prepared.image_from,
                agent: prepared.agent,
                spec: &prepared.spec,
                notes,
                unenforced: choice.unenforced,
            })?;
            return Ok(0);
        }
        let mut rows =
            vec![("Command", command.argv.words().join(" ")), ("Backend", choice.backend.to_string())];
        rows.extend(render::spec(&prepared.spec));
        rows.insert(3, ("Image from", prepared.image_from.clone()));
        rows.splice(4..4, prepared.agent.map(|agent| ("Agent", agent.title().to_owned())));
        if !choice.unenforced.is_empty() {
            rows.push(("Not enforced", choice.unenforced.join(", ")));
        }
        rows.extend(notes.into_iter().map(|note| ("Note", note)));
        context.printer.text(render::lines(&rows))?;
        Ok(0)
    }
}

/// What would be done.
#[derive(Debug, Serialize)]
struct DryRun<'a> {
    dry_run: bool,
    backend: String,
    command: &'a [String],
    /// What led to the image.
    image_from: &'a str,
    /// The coding agent that it suits.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<Agent>,
    spec: &'a SandboxSpec,
    notes: Vec<String>,
    unenforced: Vec<String>,
}

fn tell_choice(context: &Context, notes: &[String], unenforced: &[String]) {
    context.tell(notes, &[]);
    if !unenforced.is_empty() {
        context.printer.note(format_args!(
            "not enforced on this machine: {}; see 'agentkernel doctor'",
            unenforced.join(", ")
        ));
    }
}

/// Whether a sandbox that stays was made by this command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Now,
    Before,
}

/// The sandbox `name`, made when there is none.
async fn kept(engine: &Engine, name: &SandboxName, prepared: Prepared) -> Result<(SandboxInfo, Made)> {
    match engine.info(name).await {
        Ok(info) => return Ok((info, Made::Before)),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error),
    }
    let about = prepared.about;
    let request = CreateRequest {
        name: name.clone(),
        spec: prepared.spec,
        backend: about.backend,
        labels: about.labels,
        ttl: about.ttl.filter(|ttl| !ttl.is_zero()),
        description: about.description,
    };
    match engine.create(request).await {
        Ok(info) => Ok((info, Made::Now)),
        // By somebody else, between the two.
        Err(error) if error.kind() == Kind::AlreadyExists => Ok((engine.info(name).await?, Made::Before)),
        Err(error) => Err(error),
    }
}

/// `run-` and eight hexadecimal digits of randomness.
fn random_name() -> Result<SandboxName> {
    // The low half of a UUID v7 is random.
    format!("run-{:08x}", SandboxId::new().as_u128() & 0xffff_ffff).parse()
}
