//! Who commands run as inside, by number or by a name of the image.

use agentkernel_model::{Error, Result, command::User, text::printable};
use std::{fmt, str::FromStr};

/// A user of the sandbox as a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    Numbered(User),
    /// A name (and a group) that only the image's `/etc/passwd` can tell the number of.
    Named(String),
}

impl FromStr for Account {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(user) = text.parse() {
            return Ok(Self::Numbered(user));
        }
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let valid = is_name(user) && group.is_none_or(|group| is_name(group) || numeric(group));
        if valid && text.len() <= 64 {
            return Ok(Self::Named(text.to_owned()));
        }
        Err(Error::invalid(format!("'{}' is not a user", printable(text)))
            .with_hint("write UID or UID:GID with numbers up to 65535, 'root', or a name of the image"))
    }
}

/// As useradd(8) takes them.
fn is_name(text: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (1..=32).contains(&text.len())
        && text.bytes().next().is_some_and(first)
        && text.bytes().all(|b| first(b) || b.is_ascii_digit() || b == b'-' || b == b'.')
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(user) => user.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}
