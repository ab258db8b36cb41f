//! `agentkernel sandbox VERB`.

pub(super) mod create;
pub(super) mod gc;
pub(super) mod info;
pub(super) mod list;
pub(super) mod remove;
pub(super) mod start;
pub(super) mod stop;

use crate::context::Context;
use agentkernel_model::Result;
use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox create my-project --dir .
  agentkernel sandbox start my-project
  agentkernel exec my-project -- npm test
  agentkernel sandbox stop my-project
  agentkernel sandbox remove my-project";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Make a sandbox; 'start' brings it up
    Create(Box<create::Create>),
    /// Bring a sandbox up
    Start(start::Start),
    /// End everything that runs in a sandbox; its files stay
    Stop(stop::Stop),
    /// Remove a sandbox and its files
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
    /// Show the sandboxes there are
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Show one sandbox with its resolved policy
    Info(info::Info),
    /// Remove expired sandboxes and what crashes left behind
    Gc(gc::Gc),
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Create(verb) => verb.json,
            Self::Start(verb) => verb.json,
            Self::Stop(verb) => verb.json,
            Self::Remove(verb) => verb.json,
            Self::List(verb) => verb.json,
            Self::Info(verb) => verb.json,
            Self::Gc(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Create(verb) => verb.execute(context),
            Self::Start(verb) => verb.execute(context),
            Self::Stop(verb) => verb.execute(context),
            Self::Remove(verb) => verb.execute(context),
            Self::List(verb) => verb.execute(context),
            Self::Info(verb) => verb.execute(context),
            Self::Gc(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}
