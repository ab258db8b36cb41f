//! Keeps what programs of the host obey ([`agentkernel_model::guard`]) read-only in directories that are mounted writable:
//! the look at the disk. What it finds becomes ordinary mounts of the policy, so that everybody sees them.
//!
//! Only what exists can be kept. A symbolic link cannot: it could be replaced, and a mount through it would show a file
//! that it leads to, which may be anywhere. It is refused, as is a file that has a second name.

use agentkernel_model::{
    Error, Kind, Result,
    guard::{self, GuardedName, Place},
    mount::{Access, Mount},
    spec::SandboxSpec,
    text::printable,
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

/// A file `.git` that is longer than this is none of git's.
const LONGEST_POINTER: u64 = 4096;

/// Adds to `spec` what keeps the guarded names of every directory that it mounts writable, save those in `allowed`.
/// Each stands behind the mount that it belongs to: what somebody mounts on top of it stays on top.
///
/// # Errors
/// [`Kind::Denied`] for what cannot be kept, [`Kind::Invalid`] for something allowed where nothing is writable.
pub fn keep_read_only(spec: &mut SandboxSpec, allowed: &[GuardedName]) -> Result<()> {
    let mut mounts = Vec::with_capacity(spec.policy.mounts.len());
    let mut writable = false;
    if let Some(place) = Place::writable_workspace(&spec.workspace) {
        writable = true;
        keep(place, allowed, &mut mounts)?;
    }
    for mount in &spec.policy.mounts {
        mounts.push(mount.clone());
        if let Some(place) = Place::writable(mount).filter(|place| place.source.is_dir()) {
            writable = true;
            keep(place, allowed, &mut mounts)?;
        }
    }
    if let (false, Some(name)) = (writable, allowed.first()) {
        let message = format!("there is no writable directory in which '{name}' could be written");
        return Err(Error::invalid(message).with_hint(
            "leave --allow-write out, or mount a directory writable: --dir PATH of 'sandbox create', or --volume",
        ));
    }
    spec.policy.mounts = mounts;
    Ok(())
}

/// What `keep_read_only` added to `spec` when it was made, as far as it is still there.
///
/// # Errors
/// [`Kind::Conflict`] for what has become something that cannot be kept: a command that could write there may have put
/// a link in its place, to have something else of the host mounted.
pub(crate) fn look_again(spec: &mut SandboxSpec) -> Result<()> {
    let all = spec.policy.mounts.clone();
    let places: Vec<Place<'_>> = Place::writable_workspace(&spec.workspace)
        .into_iter()
        .chain(all.iter().filter_map(Place::writable))
        .collect();
    let mut still = Vec::with_capacity(all.len());
    for mount in &all {
        let kept = places.iter().any(|place| place.is_kept_by(mount));
        if !kept || look(&mount.source).map_err(|error| changed(mount, error))?.is_some() {
            still.push(mount.clone());
        }
    }
    spec.policy.mounts = still;
    Ok(())
}

fn changed(mount: &Mount, cause: Error) -> Error {
    let message =
        format!("what is kept read-only at {} is another one since the sandbox was made", mount.target);
    Error::new(Kind::Conflict, message)
        .with_source(cause)
        .with_hint("put the former one back, or make the sandbox anew")
}

fn keep(place: Place<'_>, allowed: &[GuardedName], mounts: &mut Vec<Mount>) -> Result<()> {
    let is_allowed = |name: &str| allowed.iter().any(|one| one.covers(name));
    let mut keep = |name: &str, access: Access| -> Result<Option<Metadata>> {
        if is_allowed(name) {
            return Ok(None);
        }
        let found = look(&place.source.join(name)).map_err(|error| refused(name, error))?;
        if let Some(found) = &found {
            let access = if found.is_dir() { access } else { Access::ReadOnly };
            mounts.push(place.mount(name, access)?);
        }
        Ok(found)
    };
    match keep(guard::REPOSITORY, Access::ReadWrite)? {
        Some(repository) if repository.is_dir() => {
            for name in guard::IN_REPOSITORY {
                keep(name, Access::ReadOnly)?;
            }
        }
        Some(_) => check_pointer(place.source)?,
        None => {}
    }
    for name in guard::IN_PROJECT {
        keep(name, Access::ReadOnly)?;
    }
    Ok(())
}

fn refused(name: &str, error: Error) -> Error {
    if error.kind() != Kind::Denied {
        return error;
    }
    error.with_hint(format!(
        "allow it to be written with --allow-write {name}, or mount the directory as a view"
    ))
}

/// The file or directory at `path`; `None` when there is nothing.
///
/// # Errors
/// [`Kind::Denied`] for what cannot be kept.
fn look(path: &Path) -> Result<Option<Metadata>> {
    let shown = || printable(&path.to_string_lossy());
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(Error::io(format!("cannot look at '{}'", shown()), e)),
    };
    let what = match (found.is_symlink(), found.is_dir(), found.is_file()) {
        (true, ..) => "is a symbolic link",
        (_, false, false) => "is neither a file nor a directory",
        (_, false, true) if found.nlink() > 1 => "has a second name (a hard link)",
        _ => return Ok(Some(found)),
    };
    Err(Error::new(Kind::Denied, format!("'{}' {what}, which cannot be kept read-only", shown())))
}

/// A file `.git`, as in worktrees and modules, is kept as it is. Where it leads to is not mounted with the directory,
/// or else lies in it, where it could be written.
fn check_pointer(directory: &Path) -> Result<()> {
    let Some(repository) = pointed_to(directory) else { return Ok(()) };
    let Ok(inside) = directory.canonicalize() else { return Ok(()) };
    if !repository.starts_with(&inside) {
        return Ok(());
    }
    let shown = printable(&repository.to_string_lossy());
    let error = Error::new(
        Kind::Denied,
        format!("the repository '{shown}' lies in the directory that is mounted writable"),
    );
    Err(refused(guard::REPOSITORY, error))
}

/// The repository that a file `.git` leads to (gitrepository-layout(5)), where it does.
fn pointed_to(directory: &Path) -> Option<PathBuf> {
    let mut text = Vec::new();
    // It was a regular file a moment ago; never wait for, and never follow, what it may have become since.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(directory.join(guard::REPOSITORY), flags, Mode::empty()).ok()?);
    file.take(LONGEST_POINTER).read_to_end(&mut text).ok()?;
    let path = text.strip_prefix(b"gitdir: ")?.trim_ascii_end();
    directory.join(std::ffi::OsStr::from_bytes(path)).canonicalize().ok()
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
