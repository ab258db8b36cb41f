//! `agentkernel plugin VERB`.

mod install;
mod list;

use crate::{
    context::Context,
    place::{Content, Links, Place},
    settings,
};
use agentkernel_config::plugin::{MAX_LEN, Merge, Piece, Scope};
use agentkernel_model::{Error, Kind, Result};
use clap::Subcommand;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  agentkernel plugin install claude             skill, /sandbox and MCP server, for this project
  agentkernel plugin install codex --dry-run    shows what would change, and writes nothing
  agentkernel plugin install gemini --global    for all projects
  agentkernel plugin install opencode
  agentkernel plugin install mcp                .mcp.json, for any agent that reads it
  agentkernel plugin list";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Make a coding agent use agentkernel: claude, codex, gemini, opencode, or mcp for any other
    Install(install::Install),
    /// Show for which agents it is installed
    #[command(visible_alias = "ls")]
    List(list::List),
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Install(verb) => verb.json,
            Self::List(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Install(verb) => verb.execute(context),
            Self::List(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}

const fn scope(global: bool) -> Scope {
    if global { Scope::Global } else { Scope::Project }
}

/// The directory below which files of `scope` are.
fn root(context: &Context, scope: Scope) -> Result<PathBuf> {
    match scope {
        Scope::Project => settings::current_dir(),
        Scope::Global => context.settings.home.clone().ok_or_else(|| {
            Error::new(Kind::Unavailable, "this user has no home")
                .with_hint("set HOME, or leave --global out")
        }),
    }
}

/// A file of a plugin as it is, and as it is to be.
#[derive(Debug)]
struct Planned {
    place: Place,
    before: Option<Content>,
    merge: Merge,
}

impl Planned {
    fn of(piece: &Piece, root: &Path, links: Links) -> Result<Self> {
        let place = Place::find(root, piece.path, links)?;
        let before = place.read(MAX_LEN)?;
        let merge = piece.merge(place.shown(), before.as_ref().map(|content| content.text.as_str()))?;
        Ok(Self { place, before, merge })
    }
}
