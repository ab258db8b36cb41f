//! What is in a directory, and removing one entry of it.

use super::{Opener, check_no_process, place::Place};
use agentkernel_backend::{EntryKind, FileEntry, FileList};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::ffi::CStr;

/// Bytes of a listing as JSON, at most: it goes over the wire as one message.
const MAX_BYTES: usize = 6 << 20;

/// What is in the directory `path`, by name. Links are not followed, but on the way.
///
/// # Errors
/// `NOTDIR` when it is no directory, `ACCESS` for what is in /proc.
pub fn list(open: Opener<'_>, path: &str) -> Result<FileList, Errno> {
    let directory = open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    check_no_process(&directory)?;
    let mut list = FileList::default();
    let mut bytes = 0;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let Some(entry) = look(&directory, entry.file_name())? else { continue };
        bytes += serde_json::to_vec(&entry).map_err(|_| Errno::INVAL)?.len() + 1;
        if list.entries.len() == FileList::MAX || bytes > MAX_BYTES {
            list.truncated = true;
            break;
        }
        list.entries.push(entry);
    }
    list.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

/// `None` when it is gone by now.
fn look(directory: &OwnedFd, name: &CStr) -> Result<Option<FileEntry>, Errno> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let (kind, target) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (EntryKind::File, None),
        FileType::Directory => (EntryKind::Directory, None),
        // One that was replaced meanwhile has no target.
        FileType::Symlink => {
            (EntryKind::Link, rustix::fs::readlinkat(directory, name, Vec::new()).ok().map(|t| readable(&t)))
        }
        _ => (EntryKind::Other, None),
    };
    Ok(Some(FileEntry {
        name: readable(name),
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        mtime: stat.st_mtime,
        target,
    }))
}

fn readable(text: &CStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Removes what is at `path`, but not a directory; of a link, the link.
///
/// # Errors
/// `ISDIR` when it is a directory, `ACCESS` for what is in /proc.
pub fn remove(open: Opener<'_>, path: &str) -> Result<(), Errno> {
    let place = Place::of(open, path)?;
    rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty())
}
