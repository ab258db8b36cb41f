//! Reading one file out of stacked layers as overlayfs would show it. Layers are hostile: links lead nowhere but within
//! them, and nothing but regular files is opened.

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read as _},
    path::Path,
    rc::Rc,
};

/// Directories of several layers that show as one, topmost first.
#[derive(Debug, Clone)]
pub(crate) struct Merged(Rc<[OwnedFd]>);

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

enum Found {
    Nothing,
    Directory(Merged),
    Link(Vec<u8>),
    File(File),
    /// A device, socket or pipe.
    Other,
}

impl Merged {
    /// The root of `layers`, topmost first.
    pub(crate) fn open<'a>(layers: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let open = |path: &Path| Ok(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?);
        layers.map(open).collect::<io::Result<_>>().map(Self)
    }

    /// What the file `path` holds, links followed as far as they lead within the layers; `None` when there is no such
    /// file.
    ///
    /// # Errors
    /// When it is longer than `limit`, and when it cannot be read.
    pub(crate) fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.find(path)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::other(format!("it is longer than {limit} bytes")));
        }
        Ok(Some(content))
    }

    /// As [`Merged::read`], opened.
    pub(crate) fn find(&self, path: &str) -> io::Result<Option<File>> {
        let mut ahead: VecDeque<Vec<u8>> = parts(path.as_bytes()).collect();
        let mut above = vec![self.clone()];
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == b".." {
                // The root is its own parent.
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            let Some(here) = above.last() else { return Ok(None) };
            match here.look(&part)? {
                Found::Directory(below) => above.push(below),
                Found::File(file) if ahead.is_empty() => return Ok(Some(file)),
                Found::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.starts_with(b"/") {
                        above.truncate(1);
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        ahead.push_front(part);
                    }
                }
                Found::Nothing | Found::File(_) | Found::Other => return Ok(None),
            }
        }
        Ok(None)
    }

    /// What the uppermost layer that has `name` says it is.
    fn look(&self, name: &[u8]) -> io::Result<Found> {
        let mut directories = Vec::new();
        for layer in self.0.iter() {
            let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let directory = rustix::fs::openat(layer, name, DIRECTORY, Mode::empty())?;
                let last = is_opaque(&directory);
                directories.push(directory);
                if last {
                    break;
                }
                continue;
            }
            // A directory above hides what is no directory here, and all below it.
            if directories.is_empty() {
                return thing(layer, name, &stat);
            }
            break;
        }
        Ok(if directories.is_empty() { Found::Nothing } else { Found::Directory(Self(directories.into())) })
    }
}

fn thing(layer: &OwnedFd, name: &[u8], stat: &Stat) -> io::Result<Found> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => {
            Ok(Found::Link(rustix::fs::readlinkat(layer.as_fd(), name, Vec::new())?.into_bytes()))
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(Found::File(rustix::fs::openat(layer, name, flags, Mode::empty())?.into()))
        }
        // The whiteout of overlayfs.
        FileType::CharacterDevice if stat.st_rdev == 0 => Ok(Found::Nothing),
        _ => Ok(Found::Other),
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 2];
    let size = rustix::fs::fgetxattr(directory, "user.overlay.opaque", &mut value[..]);
    size == Ok(1) && value[0] == b'y'
}

fn parts(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".").map(<[u8]>::to_vec)
}

/// A file of `root`, found as [`Merged::find`] does, for bundles on disk.
pub(crate) fn open_within(root: &Path, path: &str) -> io::Result<Option<File>> {
    Merged::open(std::iter::once(root))?.find(path)
}

#[cfg(test)]
#[path = "merged_tests.rs"]
mod tests;
