//! The project's directory on disk: its configuration and the files that detection looks at. All of it is untrusted.

use agentkernel_config::{ProjectFiles, detect::MOST_CHILDREN, file, procfile};
use agentkernel_model::{Error, Kind, Result, spec::SpecFile, text::printable};
use rustix::{
    fd::AsFd,
    fs::{CWD, Mode, OFlags, ResolveFlags},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The name by which a configuration is found.
pub(crate) const FOUND: &str = "agentkernel.toml";

/// The file that a person named, whole.
///
/// # Errors
/// [`Kind::NotFound`] when it is not there, [`Kind::Config`] when it cannot be read or is too long.
pub(crate) fn read_named(path: &Path, shown: &str) -> Result<Vec<u8>> {
    let content = read_bounded(path, file::MAX_LEN + 1).map_err(|e| unreadable(shown, e))?;
    if content.len() > file::MAX_LEN {
        return Err(Error::new(Kind::Config, format!("{shown} is too long for a configuration")));
    }
    Ok(content)
}

pub(crate) fn unreadable(shown: &str, e: io::Error) -> Error {
    let missing = e.kind() == io::ErrorKind::NotFound;
    let kind = if missing { Kind::NotFound } else { Kind::Config };
    let error = Error::new(kind, format!("cannot read the configuration {shown}")).with_source(e);
    if missing { error.with_hint("write a path to a file that exists") } else { error }
}

pub(crate) fn into_text(shown: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::new(Kind::Config, format!("{shown} is not UTF-8 from byte {at} on"))
            .with_hint("save it as UTF-8")
    })
}

/// How far the source of a file may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A person named the configuration.
    Anywhere,
    /// It was found and a person trusts its text: a path that leaves the project does so for all to see, and what looks like
    /// a file of the project must be one.
    Trusted,
    /// Files of the project only, and through no link: the configuration was only found.
    Project,
}

/// The source of one of `[[files]]`.
///
/// # Errors
/// [`Kind::NotFound`]; [`Kind::Denied`] when it leads out of the project.
pub(crate) fn read_source(base: &Path, path: &str, reach: Reach) -> Result<Vec<u8>> {
    let shown = printable(path);
    let looks_inside = !path.starts_with('/') && path.split('/').all(|part| part != "..");
    let contained = match reach {
        Reach::Anywhere => false,
        Reach::Trusted => looks_inside,
        Reach::Project => true,
    };
    let opened = if contained {
        rustix::fs::open(base, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(io::Error::from)
            .and_then(|dir| {
                open_regular(dir, Path::new(path), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
            })
    } else {
        open_regular(CWD, &base.join(path), ResolveFlags::empty())
    };
    let limit = SpecFile::MAX_TOTAL + 1;
    opened.and_then(|file| take(file, limit)).map_err(|e| {
        let kind = if e.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Denied };
        Error::new(kind, format!("cannot read '{shown}', a source of [[files]]"))
            .with_source(e)
            .with_hint("write the path of a regular file, relative to the configuration")
    })
}

/// At most `limit` bytes of a regular file. Never waits: a pipe that pretends to be a file is refused unread.
pub(crate) fn read_bounded(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    take(open_regular(CWD, path, ResolveFlags::empty())?, limit)
}

fn open_regular(at: impl AsFd, path: &Path, resolve: ResolveFlags) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat2(at, path, flags, Mode::empty(), resolve)?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
}

fn take(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A directory as detection sees it.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    fn unreadable(&self, e: io::Error) -> Error {
        Error::io(format!("cannot read the directory {}", printable(&self.0.to_string_lossy())), e)
            .with_hint("name the image with --image, such as --image host")
    }
}

impl ProjectFiles for Directory {
    fn has(&self, name: &str) -> Result<bool> {
        match self.0.join(name).symlink_metadata() {
            Ok(meta) => Ok(!meta.is_dir()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.unreadable(e)),
        }
    }

    fn names(&self) -> Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        let entries = fs::read_dir(&self.0).map_err(|e| self.unreadable(e))?;
        for (count, entry) in entries.enumerate() {
            if count == MOST_CHILDREN {
                return Ok(None);
            }
            let entry = entry.map_err(|e| self.unreadable(e))?;
            let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
            // A name that is no text is in no table.
            if let (false, Ok(name)) = (is_dir, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(Some(names))
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
