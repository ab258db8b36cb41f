//! Small files of the store: read whole and within a bound, written so that a reader sees the old one or the new one.

use agentkernel_model::{Error, Kind, Result};
use std::{
    fmt,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// What `path` holds; `None` when it is not there.
///
/// # Errors
/// When it is longer than `limit`, and when it cannot be read.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("read", path, e)),
    };
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(|e| failed("read", path, e))?;
    if content.len() as u64 > limit {
        return Err(Error::invalid(format!("'{}' is longer than {limit} bytes", path.display())));
    }
    Ok(Some(content))
}

/// Puts `content` at `path`, whole or not at all. Only for holders of the lock of the records: the name of the file on
/// its way is always the same, so that one that was left behind is overwritten by the next.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |e| failed("write", path, e);
    let mut name = std::ffi::OsString::from(".new-");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new).map_err(fail)?;
    file.write_all(content).and_then(|()| file.sync_data()).map_err(fail)?;
    std::fs::rename(&new, path).map_err(fail)
}

/// Removes the file `path`; the bytes it had, `None` when it was not there.
pub(crate) fn remove(path: &Path) -> Result<Option<u64>> {
    let bytes = path.symlink_metadata().map(|meta| meta.len());
    match std::fs::remove_file(path) {
        Ok(()) => Ok(Some(bytes.unwrap_or(0))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("remove", path, e)),
    }
}

/// Makes the directory `path` with its parents, for its owner alone.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| failed("make", path, e))
}

/// The names of what is in the directory `path`, such as are text; none when it is not there.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("read", path, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed("read", path, e))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Everything that was written to the file system of `file` reaches its disk. One call for a whole tree, instead of one
/// for each of its files.
pub(crate) fn flush(file: &File, path: &Path) -> Result<()> {
    #[cfg(target_os = "linux")]
    let flushed = rustix::fs::syncfs(file).map_err(io::Error::from);
    #[cfg(not(target_os = "linux"))]
    let flushed = file.sync_all();
    flushed.map_err(|e| failed("flush", path, e))
}

/// `cannot WHAT 'PATH'`, and what to do about a full disk.
pub(crate) fn failed(what: impl fmt::Display, path: &Path, error: io::Error) -> Error {
    full(Error::io(format!("cannot {what} '{}'", path.display()), error))
}

/// Adds what to do where the disk is full.
pub(crate) fn full(error: Error) -> Error {
    if error.kind() != Kind::Exhausted {
        return error;
    }
    error.with_hint(
        "make room, for instance by 'agentkernel images prune', and try again: finished layers and downloads stay",
    )
}
