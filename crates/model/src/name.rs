//! Names of sandboxes, volumes and templates, and labels.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest name, in bytes.
const MAX: usize = 63;

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let separator = |b: &u8| matches!(b, b'-' | b'_');
    (1..=MAX).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || separator(b))
        && !bytes.first().is_some_and(separator)
        && !bytes.last().is_some_and(separator)
        && !bytes.windows(2).any(|w| w.iter().all(separator))
}

/// A type of names with one grammar, which is safe as the name of a file.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 63 ASCII letters, digits, `-` and `_`; starts and ends with a letter or digit, no two separators in a row.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub const MAX: usize = MAX;

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                if is_name(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(Error::invalid(format!(concat!("'{}' is not a valid ", $what, " name"), printable(text)))
                    .with_hint(
                        "use 1 to 63 letters, digits, '-' and '_'; start and end with a letter or digit, no two separators in a row",
                    ))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a sandbox.
    SandboxName,
    "sandbox"
);
name!(
    /// The name of a managed volume.
    VolumeName,
    "volume"
);
name!(
    /// The name of a template.
    TemplateName,
    "template"
);

/// A label `key=value`: key 1 to 63 of `[A-Za-z0-9._-]`, value 1 to 255 of the same and `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    pub key: String,
    pub value: String,
}

impl Label {
    /// # Errors
    /// [`crate::Kind::Invalid`] when either part breaks the grammar.
    pub fn new(key: &str, value: &str) -> Result<Self> {
        let common = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let key_ok = (1..=63).contains(&key.len()) && key.bytes().all(common);
        let value_ok = (1..=255).contains(&value.len()) && value.bytes().all(|b| common(b) || b == b'/');
        if key_ok && value_ok {
            return Ok(Self { key: key.to_owned(), value: value.to_owned() });
        }
        Err(Error::invalid(format!("'{}={}' is not a valid label", printable(key), printable(value)))
            .with_hint("write key=value with letters, digits, '.', '_' and '-' ('/' in the value only)"))
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Self::new(key, value)
    }
}
