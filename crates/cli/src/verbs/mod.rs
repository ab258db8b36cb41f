//! The verbs: one file each, holding its flags, its help and its one call of the engine.

mod attach;
mod doctor;
mod exec;
mod keeper;
mod report;
mod run;
mod sandbox;
mod setup;

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
    /// See which backends work here, and what is missing for the others
    Setup(setup::Setup),
    /// Look for trouble with backends, sandboxes and storage
    Doctor(doctor::Doctor),
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
        }
    }
}

impl Verb {
    /// Whom the verb answers; decides how errors look.
    pub(crate) fn form(&self) -> Form {
        let json = match self {
            Self::Run(verb) => verb.json,
            Self::Exec(verb) => verb.json,
            Self::Doctor(verb) => verb.json,
            Self::Setup(verb) => verb.json,
            Self::Attach(_) | Self::Keeper(_) => false,
            Self::Sandbox(verb) => verb.json(),
            Self::Older(Older::Create(verb)) => verb.json,
            Self::Older(Older::Start(verb)) => verb.json,
            Self::Older(Older::Stop(verb)) => verb.json,
            Self::Older(Older::Remove(verb)) => verb.json,
            Self::Older(Older::List(verb)) => verb.json,
            Self::Older(Older::Info(verb)) => verb.json,
            Self::Older(Older::Gc(verb)) => verb.json,
        };
        Form::from_flag(json)
    }

    /// Does it; the result is the exit code.
    pub(crate) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Run(verb) => verb.execute(context),
            Self::Exec(verb) => verb.execute(context),
            Self::Attach(verb) => verb.execute(context),
            Self::Sandbox(verb) => verb.execute(context),
            Self::Setup(verb) => verb.execute(context),
            Self::Doctor(verb) => verb.execute(context),
            Self::Keeper(verb) => verb.execute(context),
            Self::Older(verb) => verb.newer().execute(context),
        }
    }
}
