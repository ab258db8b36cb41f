//! The directory that a path is in, and the name there.

use super::{Opener, check_no_process};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::Errno,
};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name in a directory that is open.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: String,
}

impl Place {
    /// Of `path` itself, which may be a link.
    pub(super) fn of(open: Opener<'_>, path: &str) -> Result<Self, Errno> {
        let (parent, name) = split(path)?;
        let directory = open(parent, DIRECTORY, Mode::empty())?;
        check_no_process(&directory)?;
        Ok(Self { directory, name: name.to_owned() })
    }

    /// Of what `path` leads to, which need not be there.
    pub(super) fn behind_links(open: Opener<'_>, path: &str) -> Result<Self, Errno> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let place = Self::of(open, &path)?;
            match rustix::fs::readlinkat(&place.directory, &place.name, Vec::new()) {
                Ok(target) => {
                    let target = target.into_string().map_err(|_| Errno::ILSEQ)?;
                    path = joined(split(&path)?.0, &target);
                }
                // No link, or nothing.
                Err(Errno::INVAL | Errno::NOENT) => return Ok(place),
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::LOOP)
    }

    /// What is there, links not followed.
    pub(super) fn look(&self) -> Result<Option<Stat>, Errno> {
        match rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// Makes the directory that `path` is in, as `mkdir -p` does.
pub(super) fn make_parents(open: Opener<'_>, path: &str) -> Result<(), Errno> {
    let (parent, _) = split(path)?;
    // The common case.
    if open(parent, DIRECTORY, Mode::empty()).is_ok() {
        return Ok(());
    }
    let mut above = open("/", DIRECTORY, Mode::empty())?;
    let ends = parent.match_indices('/').skip(1).map(|(at, _)| at).chain([parent.len()]);
    for end in ends {
        let (there, name) = (&parent[..end], split(&parent[..end])?.1);
        above = match open(there, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => make_directory(open, &above, there, name)?,
            other => other?,
        };
    }
    Ok(())
}

fn make_directory(open: Opener<'_>, above: &OwnedFd, path: &str, name: &str) -> Result<OwnedFd, Errno> {
    check_no_process(above)?;
    match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        // Somebody else was faster; or it is a link to nothing, which the next step says.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let made = open(path, DIRECTORY, Mode::empty())?;
    give(&made, &rustix::fs::fstat(above)?)?;
    Ok(made)
}

/// Gives `file` to whom `like` belongs. Where that owner does not exist inside, it stays ours.
pub(super) fn give(file: &OwnedFd, like: &Stat) -> Result<(), Errno> {
    let now = rustix::fs::fstat(file)?;
    if (now.st_uid, now.st_gid) == (like.st_uid, like.st_gid) {
        return Ok(());
    }
    match rustix::fs::fchown(file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid))) {
        Ok(()) | Err(Errno::PERM | Errno::INVAL) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The directory of a path, and the name in it. The root has neither.
fn split(path: &str) -> Result<(&str, &str), Errno> {
    let (parent, name) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
    // As a link may say it; what that is, is a directory.
    if matches!(name, "" | "." | "..") {
        return Err(Errno::ISDIR);
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

/// `target`, as a link in the directory `at` means it.
fn joined(at: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("{}/{target}", at.trim_end_matches('/')) }
}
