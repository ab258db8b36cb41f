//! `agentkernel plugin install`.

use super::{Planned, root, scope};
use crate::{context::Context, place::Links};
use agentkernel_config::plugin::{MAX_LEN, Scope, State, Target};
use agentkernel_model::{Error, Kind, Result, text::printable};
use clap::Args;
use serde::Serialize;
use similar::TextDiff;
use std::fmt::Write as _;

const EXAMPLES: &str = "\
Examples:
  agentkernel plugin install claude
  agentkernel plugin install claude --dry-run
  agentkernel plugin install gemini --global

Files that are there are merged into: other servers, other keys and comments stay as they are. What somebody wrote in
place of ours is replaced with --force only.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Install {
    /// Which agent: claude, codex, gemini, opencode, or mcp for any that reads .mcp.json
    #[arg(value_name = "AGENT")]
    target: Target,

    /// For all projects: in the home instead of this directory
    #[arg(short, long)]
    global: bool,

    /// Replace what somebody changed, and follow links that lead out of the directory
    #[arg(short, long)]
    force: bool,

    /// Show what would change as a diff, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Answer with one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What is done about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Created,
    Updated,
    /// Somebody had something else there.
    Replaced,
    Unchanged,
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    path: &'a str,
    action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    target: Target,
    scope: Scope,
    root: String,
    dry_run: bool,
    files: Vec<Row<'a>>,
    next: &'static str,
}

impl Install {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let scope = scope(self.global);
        let root = root(context, scope)?;
        let links = if self.force { Links::Anywhere } else { Links::Contained };
        // All are looked at before the first is written: what cannot be done is said while nothing is.
        let pieces = self.target.pieces(scope).iter();
        let planned: Vec<Planned> =
            pieces.map(|piece| Planned::of(piece, &root, links)).collect::<Result<_>>()?;
        if !self.force
            && let Some(other) = planned.iter().find(|file| file.merge.state == State::Different)
        {
            return Err(self.differs(other));
        }
        if !self.dry_run {
            for file in planned.iter().filter(|file| action(file) != Action::Unchanged) {
                file.place.replace(file.before.as_ref(), &file.merge.text, MAX_LEN)?;
            }
        }
        if self.json {
            return context.printer.json(&Answer {
                target: self.target,
                scope,
                root: root.to_string_lossy().into_owned(),
                dry_run: self.dry_run,
                files: planned.iter().map(|file| self.row(file)).collect(),
                next: self.target.next(scope),
            });
        }
        match self.dry_run {
            true => context.printer.text(self.preview(&planned)),
            false => context.printer.text(self.done(&planned, scope)),
        }
    }

    fn differs(&self, file: &Planned) -> Error {
        let (target, shown) = (self.target, file.place.shown());
        let global = if self.global { " --global" } else { "" };
        Error::new(Kind::Conflict, format!("{shown} has something else in place of agentkernel's own"))
            .with_hint(format!("to replace it: agentkernel plugin install {target}{global} --force"))
    }

    fn row<'a>(&self, file: &'a Planned) -> Row<'a> {
        let action = action(file);
        let shown = self.dry_run && action != Action::Unchanged;
        Row { path: file.place.shown(), action, diff: shown.then(|| diff(file)) }
    }

    fn preview(&self, planned: &[Planned]) -> String {
        let mut text = String::new();
        for file in planned {
            match action(file) {
                Action::Unchanged => {
                    let _ = writeln!(text, "# {} is as it should be", file.place.shown());
                }
                _ => text.push_str(&fit(&diff(file))),
            }
        }
        text.push_str("# nothing was written");
        text
    }

    fn done(&self, planned: &[Planned], scope: Scope) -> String {
        let mut text = String::new();
        for file in planned {
            let word = match action(file) {
                Action::Created => "created",
                Action::Updated => "updated",
                Action::Replaced => "replaced",
                Action::Unchanged => "unchanged",
            };
            let _ = writeln!(text, "{word:<10} {}", file.place.shown());
        }
        let _ = write!(text, "next: {}", self.target.next(scope));
        text
    }
}

fn action(file: &Planned) -> Action {
    match (file.merge.state, &file.before) {
        (State::Same, _) => Action::Unchanged,
        (State::Different, _) => Action::Replaced,
        (_, None) => Action::Created,
        (State::Absent | State::Outdated, Some(_)) => Action::Updated,
    }
}

/// As `diff -u` writes it, and `git apply` reads it.
fn diff(file: &Planned) -> String {
    let before = file.before.as_ref().map_or("", |content| content.text.as_str());
    let shown = file.place.shown();
    let from = if file.before.is_some() { format!("a/{shown}") } else { "/dev/null".to_owned() };
    let lines = TextDiff::from_lines(before, &file.merge.text);
    lines.unified_diff().context_radius(3).header(&from, &format!("b/{shown}")).to_string()
}

/// `text` of files that others may have written, for a terminal: line ends and tabs stay.
fn fit(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(printable).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}
