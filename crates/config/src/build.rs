//! `[build]`: an image that is built from a Dockerfile. Nobody builds here.

use crate::{section::Section, workspace::host_path};
use agentkernel_model::{Error, Result, text::printable};

/// What is built. Paths are relative to the configuration's directory or absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    pub dockerfile: Option<String>,
    pub context: Option<String>,
    pub target: Option<String>,
    /// In the order in which they stand; no name twice.
    pub args: Vec<(String, String)>,
    pub no_cache: Option<bool>,
}

impl Build {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self> {
        let path = |key| section.text(key, |text| host_path(text).map(str::to_owned));
        Ok(Self {
            dockerfile: path("dockerfile")?,
            context: path("context")?,
            target: section.text("target", stage)?,
            args: section.map("args", argument)?,
            no_cache: section.boolean("no_cache")?,
        })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a stage. It becomes a word of an engine's command line, where it must not look like a flag.
pub(crate) fn stage(text: &str) -> Result<String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && text.len() <= 128 && text.bytes().all(word) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(format!("'{}' is not the name of a stage", printable(text)))
        .with_hint("write the word after AS in the Dockerfile"))
}

pub(crate) fn argument(name: &str, value: &str) -> Result<(String, String)> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let first = name.bytes().next().is_some_and(|b| word(b) && !b.is_ascii_digit());
    if first && name.len() <= 128 && name.bytes().all(word) && !value.contains('\0') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    Err(Error::invalid(format!("'{}' is not an argument of a build", printable(name)))
        .with_hint("write a name of letters, digits and '_', as after ARG in the Dockerfile"))
}
