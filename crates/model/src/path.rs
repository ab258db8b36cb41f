//! Absolute paths inside a sandbox.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An absolute path inside a sandbox: at most 1,024 bytes, no `.` or `..` component, no control characters, and no
/// trailing or doubled slash. It says nothing about symbolic links, which whoever opens it must resolve inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

impl GuestPath {
    pub const MAX: usize = 1024;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `self` is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0 == "/"
            || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path relative to `/`, without its leading slash; empty for `/` itself.
    #[must_use]
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }
}

impl FromStr for GuestPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |why: &str| {
            Err(Error::invalid(format!("path '{}' {why}", printable(text)))
                .with_hint("write an absolute path inside the sandbox, such as /workspace"))
        };
        if !text.starts_with('/') {
            return fail("is not absolute");
        }
        if text.len() > Self::MAX {
            return fail("is longer than 1,024 bytes");
        }
        if text.chars().any(char::is_control) {
            return fail("holds a control character");
        }
        let mut clean = String::with_capacity(text.len());
        for part in text.split('/').filter(|p| !p.is_empty()) {
            if matches!(part, "." | "..") {
                return fail("holds a '.' or '..' component");
            }
            clean.push('/');
            clean.push_str(part);
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(clean))
    }
}

impl TryFrom<String> for GuestPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
