//! The coding agents that agentkernel knows: what they are called, what they need, and what of a person's settings may
//! be shown to them. Data; nobody here looks for one.

use crate::{
    Error, Result,
    secret::{self, HostPattern, SecretName},
    suggest,
    text::printable,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A coding agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Agent {
    Claude,
    Gemini,
    Codex,
    OpenCode,
}

/// One row.
#[derive(Debug)]
struct Facts {
    name: &'static str,
    title: &'static str,
    program: &'static str,
    /// Each is one key of one service, by the variables that the agent reads it from: the first that is there counts.
    keys: &'static [&'static [&'static str]],
    /// Other variables that it reads the same key from.
    also: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    instructions: &'static [&'static str],
}

const ANTHROPIC: &[&str] = &["ANTHROPIC_API_KEY"];
const OPENAI: &[&str] = &["OPENAI_API_KEY"];
const GOOGLE: &[&str] = &["GEMINI_API_KEY", "GOOGLE_API_KEY"];

const CLAUDE: Facts = Facts {
    name: "claude",
    title: "Claude Code",
    program: "claude",
    keys: &[ANTHROPIC],
    also: &[],
    // Commands are root inside, where it works without questions only if it is told that this is a sandbox.
    env: &[("IS_SANDBOX", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")],
    instructions: &[".claude/CLAUDE.md", ".claude/agents", ".claude/commands", ".claude/skills"],
};

const GEMINI: Facts = Facts {
    name: "gemini",
    title: "Gemini CLI",
    program: "gemini",
    keys: &[GOOGLE],
    also: &[],
    // It makes no sandbox of its own in one, and has nobody there to ask whether the project is to be trusted.
    env: &[("SANDBOX", "agentkernel"), ("GEMINI_CLI_TRUST_WORKSPACE", "true")],
    instructions: &[".gemini/GEMINI.md", ".gemini/commands"],
};

const CODEX: Facts = Facts {
    name: "codex",
    title: "Codex",
    program: "codex",
    keys: &[OPENAI],
    // Without a login, what runs with no terminal reads this one.
    also: &["CODEX_API_KEY"],
    env: &[],
    instructions: &[".codex/AGENTS.md", ".codex/prompts"],
};

const OPENCODE: Facts = Facts {
    name: "opencode",
    title: "OpenCode",
    program: "opencode",
    keys: &[ANTHROPIC, OPENAI, &["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"]],
    also: &[],
    env: &[("OPENCODE_DISABLE_AUTOUPDATE", "1"), ("OPENCODE_DISABLE_MODELS_FETCH", "1")],
    instructions: &[
        ".config/opencode/AGENTS.md",
        ".config/opencode/agent",
        ".config/opencode/agents",
        ".config/opencode/command",
        ".config/opencode/commands",
    ],
};

impl Agent {
    /// In the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Claude, Self::Gemini, Self::Codex, Self::OpenCode];
    pub const NAMES: [&'static str; 4] = [CLAUDE.name, GEMINI.name, CODEX.name, OPENCODE.name];

    const fn facts(self) -> &'static Facts {
        match self {
            Self::Claude => &CLAUDE,
            Self::Gemini => &GEMINI,
            Self::Codex => &CODEX,
            Self::OpenCode => &OPENCODE,
        }
    }

    /// How it is spelled on a command line and in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.facts().title
    }

    /// The program that PATH has where it is installed.
    #[must_use]
    pub const fn program(self) -> &'static str {
        self.facts().program
    }

    /// The keys that it can use, one for each service: the names of each, of which the first that is there counts.
    pub fn keys(self) -> impl Iterator<Item = Vec<SecretName>> {
        // Every name parses, and belongs to a known service: a test sees to both.
        self.facts().keys.iter().map(|names| names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Other variables that it reads its key from.
    #[must_use]
    pub const fn also(self) -> &'static [&'static str] {
        self.facts().also
    }

    /// The hosts of the services that it works with.
    pub fn hosts(self) -> impl Iterator<Item = HostPattern> {
        self.keys().filter_map(|names| names.first().and_then(host_of))
    }

    /// What tells it how to behave in a sandbox.
    #[must_use]
    pub const fn env(self) -> &'static [(&'static str, &'static str)] {
        self.facts().env
    }

    /// Files and directories below a home in which a person writes down what the agent should do, and which it sends to its
    /// service by itself. Never its settings and logins: those hold tokens.
    #[must_use]
    pub const fn instructions(self) -> &'static [&'static str] {
        self.facts().instructions
    }
}

/// The host that an agent's key goes to.
#[must_use]
pub fn host_of(key: &SecretName) -> Option<HostPattern> {
    secret::for_name(key)?.hosts().next()
}

impl FromStr for Agent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|agent| agent.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("'{}' is not an agent", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))
        })
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
