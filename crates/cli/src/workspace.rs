//! What `/workspace` becomes: which directory, and how much of it.

use agentkernel_model::{
    Error, Kind, Result,
    mount::{Access, Workspace},
    policy::Profile,
    text::printable,
};
use std::path::{Path, PathBuf};

/// The `/workspace` that a sandbox gets without being asked, and a line for people when there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Automatic {
    pub(crate) workspace: Workspace,
    pub(crate) note: Option<String>,
}

/// Whether the project's directory is mounted writable: the profile's choice unless a trusted file made one.
pub(crate) fn mounts_cwd(profile: Profile, mount_cwd: Option<bool>) -> bool {
    mount_cwd.unwrap_or(profile == Profile::Permissive)
}

/// For `cwd`, an absolute path without symbolic links, as `home` is. The root and the home (and what contains it) hold
/// more than a project: they are never shown.
pub(crate) fn automatic(cwd: &Path, home: Option<&Path>, writable: bool) -> Automatic {
    if let Some(what) = too_much(cwd, home) {
        let note =
            format!("{what} is not shown inside; change to a project's directory to have it at /workspace");
        return Automatic { workspace: Workspace::None, note: Some(note) };
    }
    let source = cwd.to_owned();
    let workspace = match writable {
        true => Workspace::Direct { source, access: Access::ReadWrite },
        false => Workspace::View(source),
    };
    Automatic { workspace, note: None }
}

/// How `--dir` asked for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Unsaid,
    ReadWrite,
    ReadOnly,
    View,
}

/// `--dir PATH[:ro|:rw|:view]`, a person's own word: writable unless it asks for less. The restrictive profile makes a
/// view of what does not say.
///
/// # Errors
/// [`Kind::NotFound`] when it is no directory, [`Kind::Invalid`] when it is the root or the home.
pub(crate) fn named(text: &str, cwd: &Path, home: Option<&Path>, profile: Profile) -> Result<Workspace> {
    let (path, share) = match text.rsplit_once(':') {
        Some((path, "ro")) => (path, Share::ReadOnly),
        Some((path, "rw")) => (path, Share::ReadWrite),
        Some((path, "view")) => (path, Share::View),
        _ => (text, Share::Unsaid),
    };
    let source =
        cwd.join(path).canonicalize().ok().filter(|found| found.is_dir() && !path.is_empty()).ok_or_else(
            || {
                Error::new(Kind::NotFound, format!("'{}' is not a directory", printable(path)))
                    .with_hint("write --dir PATH, PATH:ro or PATH:view with a directory that exists")
            },
        )?;
    if let Some(what) = too_much(&source, home) {
        return Err(Error::invalid(format!("{what} cannot be a workspace"))
            .with_hint("name the directory of one project, or use --volume for single places"));
    }
    Ok(match share {
        Share::View => Workspace::View(source),
        Share::Unsaid if profile == Profile::Restrictive => Workspace::View(source),
        Share::ReadOnly => Workspace::Direct { source, access: Access::ReadOnly },
        Share::ReadWrite | Share::Unsaid => Workspace::Direct { source, access: Access::ReadWrite },
    })
}

/// A workspace that a configuration names: as `--dir` would have it.
///
/// # Errors
/// As [`named`].
pub(crate) fn checked(workspace: Workspace, home: Option<&Path>) -> Result<Workspace> {
    let source = match &workspace {
        Workspace::None => return Ok(workspace),
        Workspace::View(source) | Workspace::Direct { source, .. } => source,
    };
    let real = source.canonicalize().ok().filter(|found| found.is_dir()).ok_or_else(|| {
        let shown = printable(&source.to_string_lossy());
        Error::new(Kind::NotFound, format!("'{shown}' is not a directory"))
            .with_hint("mend workspace.path of the configuration")
    })?;
    if let Some(what) = too_much(&real, home) {
        return Err(Error::invalid(format!("{what} cannot be a workspace"))
            .with_hint("name the directory of one project in workspace.path"));
    }
    Ok(match workspace {
        Workspace::Direct { access, .. } => Workspace::Direct { source: real, access },
        _ => Workspace::View(real),
    })
}

/// What `path` is, when it holds more than a project.
fn too_much(path: &Path, home: Option<&Path>) -> Option<String> {
    if path == Path::new("/") {
        return Some("the root directory".to_owned());
    }
    let home = home?;
    if path == home {
        return Some("the home directory".to_owned());
    }
    home.starts_with(path)
        .then(|| format!("{}, which holds the home directory,", printable(&path.to_string_lossy())))
}

/// `path` without symbolic links where it exists.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
#[path = "workspace_tests.rs"]
mod tests;
