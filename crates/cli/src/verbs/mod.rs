//! The verbs: one file each, holding its flags, its help and its one call of the engine.

mod agents;
mod attach;
mod audit;
mod benchmark;
mod completions;
mod daemon;
mod doctor;
mod exec;
mod images;
mod init;
mod keeper;
mod man;
mod mcp_server;
mod plugin;
mod policy;
mod report;
mod run;
mod runner;
mod sandbox;
mod secret;
mod serve;
mod setup;
mod stats;
mod template;
mod trust;
mod volume;

pub(crate) use completions::{Shell, answer};
pub(crate) use runner::serve as serve_runner;

use crate::{context::Context, printer::Form};
use agentkernel_model::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run one command in a sandbox of its own, which is gone when it ends
    Run(Box<run::Run>),
    /// Run a command in a running sandbox
    Exec(exec::Exec),
    /// Open a shell in a running sandbox
    Attach(attach::Attach),
    /// Named sandboxes: create, start, stop, remove, list, info, gc
    #[command(subcommand, visible_alias = "sb")]
    Sandbox(sandbox::Verb),
    /// Write an agentkernel.toml for this project
    Init(init::Init),
    /// Pre-configured sandboxes: list, save, add, remove
    #[command(subcommand)]
    Template(template::Verb),
    /// Images on this machine: list, pull, import, prune
    #[command(subcommand)]
    Images(images::Verb),
    /// Directories that outlive sandboxes: create, list, info, delete
    #[command(subcommand)]
    Volume(volume::Verb),
    /// Secrets and the hosts that they may go to: set, get, list, delete
    #[command(subcommand)]
    Secret(secret::Verb),
    /// Let a configuration that was found in a project take full effect
    Trust(trust::Trust),
    /// Serve the HTTP API
    Serve(Box<serve::Serve>),
    /// See which coding agents are here, and whether there is a key for them
    Agents(agents::Agents),
    /// Make coding agents use agentkernel: install, list
    #[command(subcommand)]
    Plugin(plugin::Verb),
    /// Serve coding agents: tools of the Model Context Protocol on stdin and stdout
    McpServer(mcp_server::McpServer),
    /// Keep sandboxes warm: start, status, stop
    #[command(subcommand)]
    Daemon(daemon::Verb),
    /// See which backends work here, and what is missing for the others
    Setup(setup::Setup),
    /// Look for trouble with backends, sandboxes and storage
    Doctor(doctor::Doctor),
    /// What network rules let out, and what they blocked: log
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Show what was done: the log of events
    Audit(audit::Audit),
    /// Show how much agentkernel was used, and for what
    Stats(stats::Stats),
    /// Measure how fast sandboxes are on this machine
    Benchmark(benchmark::Benchmark),
    /// Print the script that completes verbs, flags and names in your shell
    Completions(completions::Completions),
    /// Print a page of the manual, or write all of them
    Man(man::Man),
    #[command(hide = true)]
    Keeper(keeper::Keeper),
    /// Older spellings of `sandbox VERB`.
    #[command(flatten)]
    Older(Older),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Older {
    #[command(hide = true)]
    Create(Box<sandbox::create::Create>),
    #[command(hide = true)]
    Start(sandbox::start::Start),
    #[command(hide = true)]
    Stop(sandbox::stop::Stop),
    #[command(hide = true)]
    Remove(sandbox::remove::Remove),
    #[command(hide = true)]
    List(sandbox::list::List),
    #[command(hide = true)]
    Info(sandbox::info::Info),
    #[command(hide = true)]
    Gc(sandbox::gc::Gc),
    #[command(hide = true)]
    Clean(sandbox::clean::Clean),
}

impl Older {
    fn newer(self) -> sandbox::Verb {
        match self {
            Self::Create(verb) => sandbox::Verb::Create(verb),
            Self::Start(verb) => sandbox::Verb::Start(verb),
            Self::Stop(verb) => sandbox::Verb::Stop(verb),
            Self::Remove(verb) => sandbox::Verb::Remove(verb),
            Self::List(verb) => sandbox::Verb::List(verb),
            Self::Info(verb) => sandbox::Verb::Info(verb),
            Self::Gc(verb) => sandbox::Verb::Gc(verb),
            Self::Clean(verb) => sandbox::Verb::Clean(verb),
        }
    }
}

impl Verb {
    /// Whom the verb answers; decides how errors look.
    pub(crate) fn form(&self) -> Form {
        let json = match self {
            Self::Run(verb) => verb.json,
            Self::Exec(verb) => verb.json,
            Self::Agents(verb) => verb.json,
            Self::Doctor(verb) => verb.json,
            Self::Setup(verb) => verb.json,
            Self::Plugin(verb) => verb.json(),
            Self::Policy(verb) => verb.json(),
            Self::Audit(verb) => verb.json(),
            Self::Stats(verb) => verb.json,
            Self::Benchmark(verb) => verb.json,
            Self::Attach(_) | Self::Keeper(_) | Self::Completions(_) | Self::Man(_) => false,
            Self::McpServer(_) => false,
            Self::Sandbox(verb) => verb.json(),
            Self::Template(verb) => verb.json(),
            Self::Images(verb) => verb.json(),
            Self::Init(_) => false,
            Self::Volume(verb) => verb.json(),
            Self::Secret(verb) => verb.json(),
            Self::Serve(verb) => verb.json,
            Self::Daemon(verb) => verb.json(),
            Self::Trust(verb) => verb.json,
            Self::Older(Older::Create(verb)) => verb.json,
            Self::Older(Older::Start(verb)) => verb.json,
            Self::Older(Older::Stop(verb)) => verb.json,
            Self::Older(Older::Remove(verb)) => verb.json,
            Self::Older(Older::List(verb)) => verb.json,
            Self::Older(Older::Info(verb)) => verb.json,
            Self::Older(Older::Gc(verb)) => verb.json,
            Self::Older(Older::Clean(verb)) => verb.json,
        };
        Form::from_flag(json)
    }

    /// How a trace names it, where it begins one.
    pub(crate) const fn traced(&self) -> Option<&'static str> {
        match self {
            Self::Run(_) => Some("agentkernel run"),
            Self::Exec(_) => Some("agentkernel exec"),
            Self::Sandbox(_) | Self::Older(_) => Some("agentkernel sandbox"),
            _ => None,
        }
    }

    /// Does it; the result is the exit code.
    pub(crate) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Run(verb) => verb.execute(context),
            Self::Exec(verb) => verb.execute(context),
            Self::Attach(verb) => verb.execute(context),
            Self::Sandbox(verb) => verb.execute(context),
            Self::Init(verb) => verb.execute(context),
            Self::Template(verb) => verb.execute(context),
            Self::Images(verb) => verb.execute(context),
            Self::Volume(verb) => verb.execute(context),
            Self::Secret(verb) => verb.execute(context),
            Self::Serve(verb) => verb.execute(context),
            Self::McpServer(verb) => verb.execute(context),
            Self::Daemon(verb) => verb.execute(context),
            Self::Trust(verb) => verb.execute(context),
            Self::Setup(verb) => verb.execute(context),
            Self::Agents(verb) => verb.execute(context),
            Self::Doctor(verb) => verb.execute(context),
            Self::Plugin(verb) => verb.execute(context),
            Self::Policy(verb) => verb.execute(context),
            Self::Audit(verb) => verb.execute(context),
            Self::Stats(verb) => verb.execute(context),
            Self::Benchmark(verb) => verb.execute(context),
            Self::Completions(verb) => verb.execute(context),
            Self::Man(verb) => verb.execute(context),
            Self::Keeper(verb) => verb.execute(context),
            Self::Older(verb) => verb.newer().execute(context),
        }
    }
}
