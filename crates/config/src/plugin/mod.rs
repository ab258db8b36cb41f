//! What makes coding agents use agentkernel: which files an agent wants, and how ours get into those that are there already.
//!
//! Texts come in and go out; nobody here opens a file. Nothing of others is lost: an entry goes into a file beside all that
//! is in it, and a file of ours is replaced only when it is as agentkernel wrote it. A new target is a row in [`Target`].

mod json;
mod package;
mod servers;
mod settings;
mod whole;

use agentkernel_model::{Error, Result, suggest, text::printable};
use serde::Serialize;
use std::{fmt, str::FromStr};

/// The longest file that is merged into, in bytes: Claude Code keeps the history of projects beside its servers.
pub const MAX_LEN: usize = 32 * 1024 * 1024;

/// An agent, or whatever reads `.mcp.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Claude,
    Codex,
    Gemini,
    OpenCode,
    Mcp,
}

/// Where it is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// For one project: below its directory.
    Project,
    /// For all that this person does: below the home.
    Global,
}

/// One file of a target.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Below the directory of the scope, without links in it as it is written here.
    pub path: &'static str,
    body: Body,
    whose: Whose,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    /// A file that is ours as a whole.
    Whole { text: &'static str, comment: whole::Comment },
    /// An entry in the JSON object `mcpServers`.
    Servers(servers::Dialect),
    /// A table of `mcp_servers` in TOML.
    Settings,
    /// A dependency in a `package.json`.
    Package,
}

/// Whether a file says that its target is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    /// Other targets, and other programs, have it too.
    Shared,
}

/// What a file says of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// What this version would write, or the same server with settings of a person's own.
    Same,
    /// What another version wrote, untouched.
    Outdated,
    /// Something else, which somebody wrote.
    Different,
}

/// A file, and what it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    pub state: State,
    /// The whole text with ours in it.
    pub text: String,
}

/// How much of a target is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    NotInstalled,
    Installed,
    /// Another version wrote it, or parts of it are missing: installing again mends that.
    Outdated,
    /// Somebody changed it: installing again replaces it with `--force` only.
    Different,
}

const MCP_JSON: &str = ".mcp.json";

const SKILL: &str = include_str!("../../../../plugins/claude/SKILL.md");
const COMMAND: &str = include_str!("../../../../plugins/claude/sandbox.md");
const OPENCODE: &str = include_str!("../../../../plugins/opencode/agentkernel.ts");

const fn own(path: &'static str, body: Body) -> Piece {
    Piece { path, body, whose: Whose::Own }
}

const fn shared(path: &'static str, body: Body) -> Piece {
    Piece { path, body, whose: Whose::Shared }
}

const STRICT: Body = Body::Servers(servers::Dialect::Strict);
const COMMENTED: Body = Body::Servers(servers::Dialect::Commented);
const MARKDOWN: whole::Comment = whole::Comment::Markdown;

const CLAUDE_SKILL: Piece =
    own(".claude/skills/agentkernel/SKILL.md", Body::Whole { text: SKILL, comment: MARKDOWN });
const CLAUDE_COMMAND: Piece =
    own(".claude/commands/sandbox.md", Body::Whole { text: COMMAND, comment: MARKDOWN });
const OPENCODE_PLUGIN: Body = Body::Whole { text: OPENCODE, comment: whole::Comment::Slashes };

impl Target {
    /// In the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::Claude, Self::Codex, Self::Gemini, Self::OpenCode, Self::Mcp];
    pub const NAMES: [&'static str; 5] = ["claude", "codex", "gemini", "opencode", "mcp"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::OpenCode => "opencode",
            Self::Mcp => "mcp",
        }
    }

    /// What it is, and what it gets.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Claude => "Claude Code: skill, command, MCP",
            Self::Codex => "Codex: MCP server",
            Self::Gemini => "Gemini CLI: MCP server",
            Self::OpenCode => "OpenCode: TypeScript plugin",
            Self::Mcp => "Any agent with MCP: MCP server",
        }
    }

    /// What a person does next.
    #[must_use]
    pub const fn next(self, scope: Scope) -> &'static str {
        match (self, scope) {
            (Self::Claude, Scope::Project) => {
                "start claude here and let it use the server 'agentkernel'; then: /sandbox npm test"
            }
            (Self::Claude, Scope::Global) => "start claude; then: /sandbox npm test",
            (Self::Codex, Scope::Project) => {
                "start codex here and trust this directory, or it reads none of its settings"
            }
            (Self::Codex, Scope::Global) => "start codex; 'codex mcp list' shows the server",
            (Self::Gemini, Scope::Project) => {
                "start gemini here and trust this directory, or it starts none of its servers"
            }
            (Self::Gemini, Scope::Global) => "start gemini; '/mcp' shows the server",
            (Self::OpenCode, _) => "leave 'agentkernel serve' running, and start opencode",
            (Self::Mcp, _) => "start your agent here; it asks before it uses the server",
        }
    }

    /// The files that it is made of.
    #[must_use]
    pub const fn pieces(self, scope: Scope) -> &'static [Piece] {
        const CLAUDE: &[Piece] = &[CLAUDE_SKILL, CLAUDE_COMMAND, shared(MCP_JSON, STRICT)];
        const CLAUDE_HOME: &[Piece] = &[CLAUDE_SKILL, CLAUDE_COMMAND, shared(".claude.json", STRICT)];
        const CODEX: &[Piece] = &[own(".codex/config.toml", Body::Settings), shared(MCP_JSON, STRICT)];
        const CODEX_HOME: &[Piece] = &[own(".codex/config.toml", Body::Settings)];
        const GEMINI: &[Piece] = &[own(".gemini/settings.json", COMMENTED)];
        const OPENCODE: &[Piece] = &[
            own(".opencode/plugins/agentkernel.ts", OPENCODE_PLUGIN),
            shared(".opencode/package.json", Body::Package),
        ];
        const OPENCODE_HOME: &[Piece] = &[
            own(".config/opencode/plugins/agentkernel.ts", OPENCODE_PLUGIN),
            shared(".config/opencode/package.json", Body::Package),
        ];
        const MCP: &[Piece] = &[own(MCP_JSON, STRICT)];
        match (self, scope) {
            (Self::Claude, Scope::Project) => CLAUDE,
            (Self::Claude, Scope::Global) => CLAUDE_HOME,
            (Self::Codex, Scope::Project) => CODEX,
            (Self::Codex, Scope::Global) => CODEX_HOME,
            (Self::Gemini, _) => GEMINI,
            (Self::OpenCode, Scope::Project) => OPENCODE,
            (Self::OpenCode, Scope::Global) => OPENCODE_HOME,
            (Self::Mcp, _) => MCP,
        }
    }
}

impl Piece {
    /// What the file becomes whose text is `existing`, and which messages call `name`.
    ///
    /// # Errors
    /// [`Kind::Config`](agentkernel_model::Kind::Config) with line and column for a text that is not what such a file holds.
    pub fn merge(&self, name: &str, existing: Option<&str>) -> Result<Merge> {
        match self.body {
            Body::Whole { text, comment } => Ok(whole::merge(text, comment, existing)),
            Body::Servers(dialect) => servers::merge(name, existing, dialect),
            Body::Settings => settings::merge(name, existing),
            Body::Package => package::merge(name, existing),
        }
    }
}

impl Status {
    /// By the states of `pieces`, in their order.
    #[must_use]
    pub fn of(pieces: &[Piece], states: &[State]) -> Self {
        let mut own = pieces.iter().zip(states).filter(|(piece, _)| piece.whose == Whose::Own);
        if own.all(|(_, state)| *state == State::Absent) {
            return Self::NotInstalled;
        }
        match states {
            _ if states.contains(&State::Different) => Self::Different,
            _ if states.iter().all(|state| *state == State::Same) => Self::Installed,
            _ => Self::Outdated,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotInstalled => "not installed",
            Self::Installed => "installed",
            Self::Outdated => "outdated",
            Self::Different => "different",
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|target| target.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("there is no plugin '{}'", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The server: its name, and how it is started.
const SERVER: &str = "agentkernel";
const PROGRAM: &str = "agentkernel";
const ARGUMENTS: [&str; 1] = ["mcp-server"];

/// `text` without the mark that some editors put in front, and that mark.
fn unmarked(text: &str) -> (&'static str, &str) {
    const MARK: &str = "\u{feff}";
    match text.strip_prefix(MARK) {
        Some(rest) => (MARK, rest),
        None => ("", text),
    }
}

#[cfg(test)]
#[path = "plugin_tests.rs"]
mod tests;
