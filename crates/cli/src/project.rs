//! The project's directory on disk: its configuration and the files that detection looks at. All of it is untrusted.

use agentkernel_config::{Config, ProjectFiles, file, procfile, trust};
use agentkernel_model::{Error, Kind, Result, policy::Profile, text::printable};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The name by which a configuration is found.
const FOUND: &str = "agentkernel.toml";

/// More children than this are not looked at: a project says what it is long before.
const MOST_CHILDREN: usize = 65_536;

/// A configuration and how far it is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// What of it takes effect.
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    /// What of it does not, for people.
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It lay in the current directory, or there was none.
    #[default]
    Found,
    /// A person named it.
    Named,
}

/// The configuration at `named`, or the one in `dir`. `profile` is the caller's flag.
///
/// # Errors
/// [`Kind::NotFound`] for a named file that is not there, [`Kind::Config`] for a malformed one, found or named.
pub(crate) fn load(named: Option<&Path>, dir: &Path, profile: Option<Profile>) -> Result<Loaded> {
    if let Some(path) = named {
        let shown = printable(&path.to_string_lossy());
        let text = read_bounded(&dir.join(path), file::MAX_LEN + 1).map_err(|e| unreadable(&shown, e))?;
        let config = Config::parse(&shown, &into_text(&shown, text)?)?;
        return Ok(Loaded { config, trust: Trust::Named, note: None });
    }
    let text = match read_bounded(&dir.join(FOUND), file::MAX_LEN + 1) {
        Ok(text) => into_text(FOUND, text)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(e) => return Err(unreadable(FOUND, e)),
    };
    let restricted = trust::restrict(Config::parse(FOUND, &text)?, profile);
    let note = restricted.note(&format!("./{FOUND}"));
    Ok(Loaded { config: restricted.config, trust: Trust::Found, note })
}

fn unreadable(shown: &str, e: io::Error) -> Error {
    let missing = e.kind() == io::ErrorKind::NotFound;
    let kind = if missing { Kind::NotFound } else { Kind::Config };
    let error = Error::new(kind, format!("cannot read the configuration {shown}")).with_source(e);
    if missing { error.with_hint("write --config with a path to a file that exists") } else { error }
}

fn into_text(shown: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::new(Kind::Config, format!("{shown} is not UTF-8 from byte {at} on"))
            .with_hint("save it as UTF-8")
    })
}

/// At most `limit` bytes of a regular file. Never waits: a pipe that pretends to be a file is refused unread.
fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A directory as detection sees it.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl ProjectFiles for Directory {
    fn names(&self) -> Result<Vec<String>> {
        let fail = |e| {
            Error::io(format!("cannot read the directory {}", printable(&self.0.to_string_lossy())), e)
                .with_hint("name the image with --image, such as --image host")
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(fail)?.take(MOST_CHILDREN) {
            let entry = entry.map_err(fail)?;
            let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
            // A name that is no text is in no table.
            if let (false, Ok(name)) = (is_dir, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// A Procfile that cannot be read, or is no text, says nothing: it is only a hint.
    fn procfile(&self) -> Result<Option<String>> {
        let bytes = read_bounded(&self.0.join("Procfile"), procfile::MAX_LEN).ok();
        Ok(bytes.map(|b| String::from_utf8_lossy(&b).into_owned()))
    }
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
