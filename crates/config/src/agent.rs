//! The coding agent of a project, and the author of what it commits.

use agentkernel_model::{Error, Result, command::EnvVar, suggest, text::printable};
use std::{fmt, str::FromStr};

/// A coding agent that a project prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Claude,
    Gemini,
    Codex,
    OpenCode,
}

impl Agent {
    pub const NAMES: [&'static str; 4] = ["claude", "gemini", "codex", "opencode"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Codex => "codex",
            Self::OpenCode => "opencode",
        }
    }
}

impl FromStr for Agent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "claude" => Ok(Self::Claude),
            "gemini" => Ok(Self::Gemini),
            "codex" => Ok(Self::Codex),
            "opencode" => Ok(Self::OpenCode),
            _ => Err(Error::invalid(format!("'{}' is not an agent", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))),
        }
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The author of commits that are made inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitIdentity {
    name: String,
    email: String,
}

impl GitIdentity {
    const LONGEST: usize = 256;

    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`] when a part is empty, longer than 256 bytes or has control characters.
    pub fn new(name: &str, email: &str) -> Result<Self> {
        for (what, text) in [("a name", name), ("an address", email)] {
            Self::check(what, text)?;
        }
        Ok(Self { name: name.to_owned(), email: email.to_owned() })
    }

    pub(crate) fn check(what: &str, text: &str) -> Result<()> {
        if text.trim().is_empty() || text.len() > Self::LONGEST || text.contains(char::is_control) {
            return Err(Error::invalid(format!("'{}' is not {what} of an author", printable(text)))
                .with_hint("write one line of at most 256 bytes"));
        }
        Ok(())
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The variables by which git takes it, whatever its configuration files say: settings number `from` and the next.
    pub(crate) fn variables(&self, from: u16) -> Result<Vec<EnvVar>> {
        let mut variables = vec![EnvVar::new("GIT_CONFIG_COUNT", &(u32::from(from) + 2).to_string())?];
        for (index, (key, value)) in
            [("user.name", &self.name), ("user.email", &self.email)].into_iter().enumerate()
        {
            let number = usize::from(from) + index;
            variables.push(EnvVar::new(&format!("GIT_CONFIG_KEY_{number}"), key)?);
            variables.push(EnvVar::new(&format!("GIT_CONFIG_VALUE_{number}"), value)?);
        }
        Ok(variables)
    }
}
