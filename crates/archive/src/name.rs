//! Names in archives.

use agentkernel_model::{Error, Result, text::printable};
use std::fmt;

const MAX_LENGTH: usize = 4096;
const MAX_COMPONENT: usize = 255;
/// Deeper than trees of real programs, and few enough for one descriptor per level.
pub(crate) const MAX_DEPTH: usize = 256;

/// The name of an entry, relative to the root of its tree: components with one `/` between, none of them `.` or `..`.
/// The root itself is the empty name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// An absolute name counts from the root of the tree.
    ///
    /// # Errors
    /// `Invalid` for `..` and NUL bytes, and for what is too long or too deep.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self> {
        let refuse =
            |why: &str| Err(Error::invalid(format!("the archive has an entry {} {why}", shown(raw))));
        if raw.len() > MAX_LENGTH {
            return refuse("whose name is too long");
        }
        let mut clean = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => continue,
                b".." => return refuse("that leads outside"),
                _ if part.contains(&0) => return refuse("whose name has a NUL byte"),
                _ if part.len() > MAX_COMPONENT => return refuse("whose name is too long"),
                _ => {}
            }
            depth += 1;
            if depth > MAX_DEPTH {
                return refuse("that is too deep");
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(part);
        }
        Ok(Self(clean))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it is and what it is called there; `None` for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        let slash = self.0.iter().rposition(|b| *b == b'/');
        Some(slash.map_or((&[][..], &self.0[..]), |at| (&self.0[..at], &self.0[at + 1..])))
    }

    /// `last` beside this name.
    pub(crate) fn sibling(&self, last: &[u8]) -> Self {
        let mut name = self.split().map_or(&[][..], |(parent, _)| parent).to_vec();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(last);
        Self(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

/// `raw` for a message: fit for a terminal, and not longer than a message should be.
pub(crate) fn shown(raw: &[u8]) -> String {
    const LONGEST: usize = 200;
    let cut = &raw[..raw.len().min(LONGEST)];
    let more = if raw.len() > LONGEST { "..." } else { "" };
    format!("'{}{more}'", printable(&String::from_utf8_lossy(cut)))
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
