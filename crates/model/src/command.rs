//! A command to run inside, and who runs it.

use crate::{Error, Result, path::GuestPath, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A program and its arguments: at least one word, no NUL bytes, at most 128 KiB each (the kernel's `MAX_ARG_STRLEN`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Argv(Vec<String>);

impl Argv {
    const MAX_WORD: usize = 128 * 1024 - 1;

    /// # Errors
    /// [`crate::Kind::Invalid`] when there is no program, or a word has a NUL byte or is too long.
    pub fn new(words: Vec<String>) -> Result<Self> {
        match words.first() {
            None => {
                return Err(
                    Error::invalid("there is no command to run").with_hint("agentkernel run -- COMMAND")
                );
            }
            Some(program) if program.is_empty() => {
                return Err(Error::invalid("the name of the command is empty")
                    .with_hint("agentkernel run -- COMMAND"));
            }
            Some(_) => {}
        }
        for word in &words {
            if word.contains('\0') {
                return Err(Error::invalid("an argument of the command holds a NUL byte"));
            }
            if word.len() > Self::MAX_WORD {
                return Err(Error::invalid("an argument of the command is longer than 128 KiB")
                    .with_hint("pass it through a file or through stdin"));
            }
        }
        Ok(Self(words))
    }

    #[must_use]
    pub fn program(&self) -> &str {
        &self.0[0]
    }

    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

impl TryFrom<Vec<String>> for Argv {
    type Error = Error;

    fn try_from(words: Vec<String>) -> Result<Self> {
        Self::new(words)
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

/// One environment variable, `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct EnvVar {
    key: String,
    value: String,
}

impl EnvVar {
    /// # Errors
    /// [`crate::Kind::Invalid`] when the key is empty or holds `=`, or either part holds a NUL byte.
    pub fn new(key: &str, value: &str) -> Result<Self> {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::invalid(format!("'{}' is not an environment variable", printable(key)))
                .with_hint("write KEY=VALUE"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for EnvVar {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            Error::invalid(format!("'{}' is not an environment variable", printable(text)))
                .with_hint(format!("write {}=VALUE", printable(text)))
        })?;
        Self::new(key, value)
    }
}

impl TryFrom<(String, String)> for EnvVar {
    type Error = Error;

    fn try_from((key, value): (String, String)) -> Result<Self> {
        Self::new(&key, &value)
    }
}

impl From<EnvVar> for (String, String) {
    fn from(var: EnvVar) -> Self {
        (var.key, var.value)
    }
}

/// Who a command runs as inside: numeric, so that no file of the image has to be parsed to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
    /// Ids above this are in no container range.
    pub const MAX_ID: u32 = 65_535;

    #[must_use]
    pub const fn is_root(self) -> bool {
        self.uid == 0 && self.gid == 0
    }
}

impl FromStr for User {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        let id = |s: &str| match s {
            "root" => Some(0),
            _ => {
                s.parse::<u32>().ok().filter(|n| *n <= Self::MAX_ID && s.bytes().all(|b| b.is_ascii_digit()))
            }
        };
        match (id(uid), id(gid)) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid }),
            _ => Err(Error::invalid(format!("'{}' is not a user", printable(text)))
                .with_hint("write UID or UID:GID with numbers up to 65535, such as 1000:1000, or 'root'")),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// The size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// How a command is connected to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// stdout and stderr apart, stdin at its end from the start.
    NoInput,
    /// stdin, stdout and stderr apart.
    Pipes,
    /// One terminal of the sandbox's own, of this size; stderr comes with stdout.
    Terminal(TerminalSize),
}

/// One command of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    pub argv: Argv,
    /// Added to the sandbox's own environment, later entries win.
    pub env: Vec<EnvVar>,
    /// `None`: the sandbox's own working directory.
    pub workdir: Option<GuestPath>,
    /// `None`: the sandbox's own user.
    pub user: Option<User>,
    pub stdio: Stdio,
}

/// A signal as agentkernel forwards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    Hangup,
    Interrupt,
    Quit,
    Kill,
    User1,
    User2,
    Terminate,
    Continue,
    Stop,
}

impl FromStr for Signal {
    type Err = Error;

    /// By its name, as `kill -s` has it: `INT`, or `SIGINT`.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix("SIG").unwrap_or(text) {
            "HUP" => Ok(Self::Hangup),
            "INT" => Ok(Self::Interrupt),
            "QUIT" => Ok(Self::Quit),
            "KILL" => Ok(Self::Kill),
            "USR1" => Ok(Self::User1),
            "USR2" => Ok(Self::User2),
            "TERM" => Ok(Self::Terminate),
            "CONT" => Ok(Self::Continue),
            "STOP" => Ok(Self::Stop),
            _ => Err(Error::invalid(format!("'{}' is no signal that is passed on", printable(text)))
                .with_hint("write HUP, INT, QUIT, KILL, USR1, USR2, TERM, CONT or STOP")),
        }
    }
}

impl Signal {
    /// The number on Linux for every architecture that this project builds for.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::Kill => 9,
            Self::User1 => 10,
            Self::User2 => 12,
            Self::Terminate => 15,
            Self::Continue => 18,
            Self::Stop => 19,
        }
    }
}
