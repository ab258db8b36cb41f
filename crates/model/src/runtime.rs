//! Names of OCI runtimes: what makes and starts the processes of a container, such as `runc`.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The name under which an engine knows an OCI runtime, such as `runsc` for gVisor. Never a path.
///
/// 1 to 64 ASCII letters, digits, `_`, `.` and `-`; starts with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuntimeName(String);

impl RuntimeName {
    /// The longest, in bytes.
    pub const MAX: usize = 64;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuntimeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let later = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if starts && text.len() <= Self::MAX && text.bytes().all(later) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(format!("'{}' is not the name of an OCI runtime", printable(text))).with_hint(
            "write the name under which the engine knows it, such as runsc: 1 to 64 letters, digits, '_', '.' and '-'",
        ))
    }
}

impl TryFrom<String> for RuntimeName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RuntimeName> for String {
    fn from(name: RuntimeName) -> Self {
        name.0
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
