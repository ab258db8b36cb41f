//! Files that belong to other programs, read and replaced below one directory: through no link that leads out of it unless
//! somebody says so, and never half written.

use agentkernel_model::{Error, Kind, Result, id::SandboxId, text::printable};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// Whether links may lead out of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    Contained,
    Anywhere,
}

/// One file, found with all links on the way to it followed. Whoever puts another link in the way from then on is refused.
#[derive(Debug)]
pub(crate) struct Place {
    /// As people know it.
    shown: String,
    /// Where it really is.
    directory: PathBuf,
    name: OsString,
}

/// What is in a file, and what is kept of it when it is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) text: String,
    mode: u32,
    owner: (u32, u32),
}

impl Place {
    /// `path`, which is relative, below `root`.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a link that leads out of `root`, or nowhere.
    pub(crate) fn find(root: &Path, path: &str, links: Links) -> Result<Self> {
        let shown = printable(path);
        let real_root = fs::canonicalize(root)
            .map_err(|e| Error::io(format!("cannot find {}", printable(&root.to_string_lossy())), e))?;
        let mut real = real_root.clone();
        let mut missing = false;
        for part in Path::new(path).components() {
            let Component::Normal(part) = part else {
                return Err(Error::internal(format!("'{shown}' is no path below a directory")));
            };
            let next = real.join(part);
            if missing {
                real = next;
                continue;
            }
            match fs::symlink_metadata(&next) {
                Ok(meta) if meta.file_type().is_symlink() => {
                    real = followed(&next, &real_root, &shown, links)?;
                }
                Ok(_) => real = next,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    missing = true;
                    real = next;
                }
                Err(e) => return Err(Error::io(format!("cannot look at '{shown}'"), e)),
            }
        }
        match (real.parent(), real.file_name()) {
            (Some(directory), Some(name)) => {
                Ok(Self { shown, directory: directory.to_owned(), name: name.to_owned() })
            }
            _ => Err(Error::internal(format!("'{shown}' is no path of a file"))),
        }
    }

    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// What is in it; `None` when it is not there.
    ///
    /// # Errors
    /// [`Kind::Config`] for what is no regular file, no UTF-8, or longer than `limit` bytes.
    pub(crate) fn read(&self, limit: usize) -> Result<Option<Content>> {
        match self.open_directory(Missing::Leave)? {
            Some(directory) => self.read_in(&directory, limit),
            None => Ok(None),
        }
    }

    fn read_in(&self, directory: &OwnedFd, limit: usize) -> Result<Option<Content>> {
        let refused = |what: &str| {
            Error::new(Kind::Config, format!("{} {what}", self.shown)).with_hint("move it away, or mend it")
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(directory, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(self.changed()),
            Err(e) => return Err(Error::io(format!("cannot read {}", self.shown), e.into())),
        };
        let failed = |e| Error::io(format!("cannot read {}", self.shown), e);
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(refused("is no regular file"));
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > limit {
            return Err(refused("is too long for such a file"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|e| refused(&format!("is not UTF-8 from byte {} on", e.utf8_error().valid_up_to())))?;
        Ok(Some(Content { text, mode: meta.mode() & 0o7777, owner: (meta.uid(), meta.gid()) }))
    }

    /// Puts `text` in its place at once, where `before` is what stands there. Directories on the way are made.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when somebody wrote there meanwhile.
    pub(crate) fn replace(&self, before: Option<&Content>, text: &str, limit: usize) -> Result<()> {
        let directory = self.open_directory(Missing::Make)?.ok_or_else(|| self.changed())?;
        let failed = |e: io::Error| Error::io(format!("cannot write {}", self.shown), e);
        let fresh = fresh_name(&self.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The process's mask has its say about a new file, and none about one that was there.
        let mode = Mode::from_raw_mode(if before.is_some() { 0o600 } else { 0o666 });
        let file = rustix::fs::openat(&directory, &fresh, flags, mode).map_err(|e| failed(e.into()))?;
        let written = self.write(File::from(file), before, text).and_then(|()| {
            if self.read_in(&directory, limit)?.as_ref() != before {
                return Err(self.changed());
            }
            rustix::fs::renameat(&directory, &fresh, &directory, &self.name).map_err(|e| failed(e.into()))
        });
        if let Err(error) = written {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(&directory, &fresh, AtFlags::empty());
            return Err(error);
        }
        rustix::fs::fsync(&directory).map_err(|e| failed(e.into()))
    }

    fn write(&self, mut file: File, before: Option<&Content>, text: &str) -> Result<()> {
        let failed = |e: io::Error| Error::io(format!("cannot write {}", self.shown), e);
        file.write_all(text.as_bytes()).map_err(failed)?;
        if let Some(before) = before {
            let (uid, gid) = before.owner;
            let meta = file.metadata().map_err(failed)?;
            if (meta.uid(), meta.gid()) != before.owner {
                std::os::unix::fs::fchown(&file, Some(uid), Some(gid)).map_err(failed)?;
            }
            // After the owner, whose change takes bits away.
            let mode = Mode::from_raw_mode(before.mode);
            rustix::fs::fchmod(&file, mode).map_err(|e| failed(e.into()))?;
        }
        file.sync_all().map_err(failed)
    }

    /// Opens the directory part by part, each of which must be one and no link.
    fn open_directory(&self, missing: Missing) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |e: Errno| match e {
            Errno::LOOP => self.changed(),
            Errno::NOTDIR => Error::new(Kind::Config, format!("there is no directory for {}", self.shown))
                .with_hint("something else than a directory is in its place: move it away"),
            e => Error::io(format!("cannot open the directory of {}", self.shown), e.into()),
        };
        let mut at = rustix::fs::open("/", flags, Mode::empty()).map_err(failed)?;
        for part in self.directory.components() {
            let Component::Normal(part) = part else { continue };
            at = match rustix::fs::openat(&at, part, flags, Mode::empty()) {
                Err(Errno::NOENT) if missing == Missing::Leave => return Ok(None),
                Err(Errno::NOENT) => made(&at, part, flags).map_err(failed)?,
                opened => opened.map_err(failed)?,
            };
        }
        Ok(Some(at))
    }

    fn changed(&self) -> Error {
        Error::new(Kind::Conflict, format!("{} was changed by somebody else meanwhile", self.shown))
            .with_hint("look at it, and try again")
    }
}

/// What is done about directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Leave,
    Make,
}

fn made(at: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(&at, name, flags, Mode::empty()),
        Err(e) => Err(e),
    }
}

/// Where the link at `link` leads.
fn followed(link: &Path, root: &Path, shown: &str, links: Links) -> Result<PathBuf> {
    let real = fs::canonicalize(link).map_err(|e| {
        let place = printable(&link.to_string_lossy());
        Error::new(Kind::Denied, format!("'{place}' is a link that leads nowhere"))
            .with_source(e)
            .with_hint(format!("rm '{place}'"))
    })?;
    if links == Links::Contained && !real.starts_with(root) {
        let to = printable(&real.to_string_lossy());
        return Err(Error::new(
            Kind::Denied,
            format!("'{shown}' leads out of the directory by a link, to {to}"),
        )
        .with_hint("look where it leads; to write there all the same: add --force"));
    }
    Ok(real)
}

/// A name beside `name` that nobody has.
fn fresh_name(name: &OsStr) -> OsString {
    let mut fresh = OsString::from(".");
    fresh.push(name);
    fresh.push(format!(".{:016x}", SandboxId::new().as_u128() & 0xffff_ffff_ffff_ffff));
    fresh
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
