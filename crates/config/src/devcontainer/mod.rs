//! `devcontainer.json` (<https://containers.dev>) as a configuration.
//!
//! What it says about the inside is taken over. What it says about the host is either a setting that only a trusted file
//! may have (mounts, ports), or it is reported and left out; commands for the host are never run.

mod json;
mod mount;
mod property;
mod reader;
mod script;
mod variable;

use crate::{
    file::{self, Config},
    source::Source,
};
use agentkernel_model::{Error, Kind, Result, text::printable};
use reader::Reader;

/// Where the file is in its project.
#[derive(Debug, Clone, Copy)]
pub struct Project<'a> {
    /// The base name of the project's directory.
    pub name: &'a str,
    /// The directory of the file, relative to the project's: empty, `.devcontainer` or `.devcontainer/NAME`.
    pub folder: &'a str,
}

/// What a devcontainer.json comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevContainer {
    /// Its relative paths are taken from the project's directory. One that was only found goes through
    /// [`crate::trust::restrict`].
    pub config: Config,
    /// What was left out, each with file, line and column.
    pub notes: Vec<String>,
}

/// Reads `text`, which messages call `name`.
///
/// # Errors
/// [`Kind::Config`] with file, line and column for what is no JSON with comments and for properties of the wrong type;
/// [`Kind::Unsupported`] for what cannot be left out without making the sandbox another one (compose files) or a wider
/// one (arguments of the engine that take something away).
pub fn parse(name: &str, text: &str, project: Project<'_>) -> Result<DevContainer> {
    if text.len() > file::MAX_LEN {
        return Err(Error::new(Kind::Config, format!("{} is longer than 4 MiB", printable(name)))
            .with_hint("is it really a devcontainer.json?"));
    }
    // A byte order mark is no JSON, and editors write it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source { name, text };
    let object = json::parse(source)?;
    let properties = json::properties(source, &object)?;
    let mut reader = Reader::new(project);
    for property in &properties {
        reader.property(property)?;
    }
    reader.finish(&properties)
}

#[cfg(test)]
#[path = "../devcontainer_tests.rs"]
mod tests;
