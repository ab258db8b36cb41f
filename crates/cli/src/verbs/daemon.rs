//! `agentkernel daemon VERB`.

use crate::{
    args::SandboxArgs,
    context::Context,
    image::Having,
    spec::{self, ProjectUse, Purpose},
};
use agentkernel_engine::{
    Engine,
    daemon::{DaemonStatus, Order, Phase, PoolSize, Served, Started, Wish},
};
use agentkernel_model::{Error, Kind, Result, image::ImageRef, spec::Lifetime};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  agentkernel daemon start
  agentkernel run --no-workspace echo \"Hello from a warm sandbox!\"
  agentkernel daemon status
  agentkernel daemon stop

The daemon keeps sandboxes of slow backends warm: started, and nothing run in them yet. Each is for one run.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Start the daemon, and keep sandboxes warm from then on
    Start(Start),
    /// Show what the daemon keeps warm
    Status(Status),
    /// End the daemon and what it keeps warm; commands that run are waited for
    Stop(Stop),
    /// The daemon's own process. Started by the engine, not by people
    #[command(hide = true, after_help = "Examples:\n  agentkernel daemon start")]
    Serve,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  agentkernel daemon start                     what runs ask for is warm for the next ones
  agentkernel daemon start --image alpine:3.20 --image python:3.12
  agentkernel daemon start --min 2 --max 8
  agentkernel daemon start --foreground        for service managers; ends with Ctrl-C

What is named is kept warm as 'agentkernel run --no-workspace --image REF' would start it in this directory; runs with
other flags are of another kind, which is warm from the second one on.
A second start says that there is a daemon, and succeeds.")]
pub(crate) struct Start {
    /// Be the daemon, in this process, instead of starting one
    #[arg(long)]
    foreground: bool,

    /// How many sandboxes of a kind to keep warm, 3 unless --max is less
    #[arg(long, value_name = "NUMBER")]
    min: Option<usize>,

    /// How many to keep warm of all kinds together, 5 unless --min is more
    #[arg(long, value_name = "NUMBER")]
    max: Option<usize>,

    /// Keep sandboxes of this image warm from the beginning, beside what runs ask for (repeatable)
    #[arg(short, long, value_name = "REF")]
    image: Vec<ImageRef>,

    /// The backend of the images, instead of the best one that works here
    #[arg(short = 'B', long, value_name = "NAME", requires = "image")]
    backend: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel daemon status\n  agentkernel daemon status --json")]
pub(crate) struct Status {
    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  agentkernel daemon stop\n\nStopping what does not run succeeds.")]
pub(crate) struct Stop {}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Status(verb) => verb.json,
            Self::Start(_) | Self::Stop(_) | Self::Serve => false,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Start(verb) => verb.execute(context),
            Self::Status(verb) => verb.execute(context),
            Self::Stop(verb) => verb.execute(context),
            Self::Serve => context.block_on(context.engine().serve_daemon()),
        }
        .map(|()| 0)
    }
}

impl Start {
    fn execute(self, context: &Context) -> Result<()> {
        let size = PoolSize::new(self.min, self.max)?;
        let engine = context.engine();
        // Before an image is pulled for nothing.
        if let Some(status) = context.block_on(engine.daemon_status())? {
            return already(context, &status);
        }
        let order = Order::new(size, self.wishes(context, &engine)?)?;
        if self.foreground {
            let ready = || drop(context.printer.text(running(std::process::id())));
            return match context.block_on(engine.be_daemon(order, ready))? {
                Served::ToTheEnd => Ok(()),
                Served::Redundant => redundant(context, &engine),
            };
        }
        match context.block_on(engine.start_daemon(&order))? {
            Started::Now { pid } => context.printer.text(running(pid))?,
            Started::Before => return redundant(context, &engine),
        }
        if !engine.gains_from_daemon() {
            context.printer.note(
                "no backend of this build gains from it: they start a sandbox about as fast as one could be taken from a pool",
            );
        }
        Ok(())
    }

    /// What is named, as a run in this directory would have it.
    fn wishes(&self, context: &Context, engine: &Engine) -> Result<Vec<Wish>> {
        let mut wishes = Vec::new();
        for image in &self.image {
            let flags = SandboxArgs {
                image: Some(image.clone()),
                backend: self.backend.clone(),
                ..SandboxArgs::default()
            };
            let purpose =
                Purpose::Run { program: "", project: ProjectUse::None, lifetime: Lifetime::Ephemeral };
            let having = Having::Get { printer: &context.printer, json: false };
            let prepared = spec::prepare(engine, context, &flags, purpose, having)?;
            context.tell(&prepared.notes, &prepared.remarks);
            let backend = prepared.about.backend.as_deref();
            wishes.push(context.block_on(engine.wish(&prepared.spec, backend))?);
        }
        Ok(wishes)
    }
}

fn running(pid: u32) -> String {
    format!("the daemon is running (process {pid})")
}

/// Somebody else was faster.
fn redundant(context: &Context, engine: &Engine) -> Result<()> {
    match context.block_on(engine.daemon_status())? {
        Some(status) => already(context, &status),
        None => Err(Error::new(Kind::Conflict, "another daemon has just ended").with_hint("start it again")),
    }
}

fn already(context: &Context, status: &DaemonStatus) -> Result<()> {
    if status.phase == Phase::Stopping {
        return Err(Error::new(
            Kind::Conflict,
            format!("the daemon is being stopped, and waits for {}", commands(status.in_use)),
        )
        .with_hint("start it again when they have ended")
        .retry_later());
    }
    context.printer.text(format_args!("the daemon is already running (process {})", status.pid))
}

fn commands(number: usize) -> String {
    match number {
        1 => "1 command".to_owned(),
        n => format!("{n} commands"),
    }
}

/// The status as programs see it.
#[derive(Debug, Serialize)]
struct StatusJson<'a> {
    running: bool,
    socket: PathBuf,
    #[serde(flatten)]
    status: Option<&'a DaemonStatus>,
}

impl Status {
    fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let status = context.block_on(engine.daemon_status())?;
        let socket = engine.daemon_socket();
        if self.json {
            let running = status.is_some();
            return context.printer.json(&StatusJson { running, socket, status: status.as_ref() });
        }
        let Some(status) = status else {
            let rows = [("Daemon", "not running".to_owned()), ("Socket", socket.display().to_string())];
            return context.printer.text(crate::render::lines(&rows));
        };
        context.printer.text(pool(&status))?;
        if status.phase == Phase::Stopping {
            context
                .printer
                .note(format_args!("it is being stopped, and waits for {}", commands(status.in_use)));
        }
        for kind in &status.kinds {
            if let Some(trouble) = &kind.trouble {
                context.printer.note(format_args!("{} on '{}': {trouble}", kind.image, kind.backend));
            }
        }
        Ok(())
    }
}

fn pool(status: &DaemonStatus) -> String {
    let DaemonStatus { warm, in_use, min_warm, max_warm, .. } = status;
    format!("Pool: Warm VMs: {warm}, In use: {in_use}, Min/Max: {min_warm}/{max_warm}")
}

impl Stop {
    fn execute(self, context: &Context) -> Result<()> {
        let Self {} = self;
        let engine = context.engine();
        let waiting = |number| context.printer.note(format_args!("waiting for {} to end", commands(number)));
        match context.block_on(engine.stop_daemon(waiting))? {
            true => context.printer.text("the daemon has stopped"),
            false => context.printer.text("the daemon is not running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_told_in_one_line() {
        let status = DaemonStatus {
            pid: 1,
            phase: Phase::Running,
            warm: 3,
            in_use: 0,
            min_warm: 3,
            max_warm: 5,
            hits: 7,
            misses: 1,
            kinds: Vec::new(),
        };
        assert_eq!(pool(&status), "Pool: Warm VMs: 3, In use: 0, Min/Max: 3/5");
    }
}
