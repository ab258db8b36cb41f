//! agentkernel's own files are never inside: records, keys of trust, and the sockets by which sandboxes are commanded. A
//! read-only mount would not keep anybody from connecting to a socket.

use agentkernel_backend::Host;
use agentkernel_model::{
    Error, Kind, Result,
    mount::{Access, Mount, Workspace},
    path::GuestPath,
    spec::SandboxSpec,
    text::printable,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// The empty directory that covers the data directory inside.
const COVER: &str = "covered";

/// Refuses to show the data directory or a part of it, but for the content of managed volumes, and to have a directory
/// written that holds it: what is inside could be moved from under its cover.
///
/// # Errors
/// [`Kind::Denied`].
pub(crate) fn check(host: &Host, spec: &SandboxSpec) -> Result<()> {
    let Ok(data) = fs::canonicalize(&host.data) else { return Ok(()) };
    for (source, target, access) in shown(spec) {
        let Ok(real) = fs::canonicalize(source) else { continue };
        if access == Access::ReadWrite && real != data && data.starts_with(&real) {
            return Err(Error::new(
                Kind::Denied,
                format!(
                    "{} holds agentkernel's own files and cannot be written at {target}",
                    printable(&real.to_string_lossy())
                ),
            )
            .with_hint("mount it read-only (:ro), or a directory in it"));
        }
        let Ok(below) = real.strip_prefix(&data) else { continue };
        let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
        let own_volume = parts.len() >= 3 && parts[0] == "volumes" && parts[2] == "data";
        if !own_volume && !matches!(parts.as_slice(), [COVER]) {
            return Err(Error::new(
                Kind::Denied,
                format!(
                    "{} is agentkernel's own and cannot be shown at {target}",
                    printable(&real.to_string_lossy())
                ),
            )
            .with_hint("mount another directory, or a managed volume by its name"));
        }
    }
    Ok(())
}

/// Covers the data directory wherever a directory that holds it is shown.
///
/// # Errors
/// As [`check`], and when the cover cannot be made.
pub(crate) fn cover(host: &Host, spec: &mut SandboxSpec) -> Result<()> {
    check(host, spec)?;
    let Ok(data) = fs::canonicalize(&host.data) else { return Ok(()) };
    let mut targets: Vec<GuestPath> = Vec::new();
    for (source, target, _) in shown(spec) {
        let Ok(real) = fs::canonicalize(source) else { continue };
        let Ok(below) = data.strip_prefix(&real) else { continue };
        let inside = Path::new(target).join(below);
        let inside = inside.to_str().and_then(|path| path.parse().ok()).ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                format!("{target} would show agentkernel's own files, and they cannot be covered there"),
            )
            .with_hint("mount a directory that does not hold them")
        })?;
        targets.push(inside);
    }
    if targets.is_empty() {
        return Ok(());
    }
    let source = data.join(COVER);
    match DirBuilder::new().mode(0o555).create(&source) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io(format!("cannot make '{}'", source.display()), e));
        }
        _ => {}
    }
    let mount = |target| Mount { source: source.clone(), target, access: Access::ReadOnly };
    spec.policy.mounts.extend(targets.into_iter().map(mount));
    Ok(())
}

/// Every path of this machine that is shown, where, and whether it can be written. A view is written elsewhere.
fn shown(spec: &SandboxSpec) -> Vec<(&PathBuf, &str, Access)> {
    let workspace = match &spec.workspace {
        Workspace::None => None,
        Workspace::View(source) => Some((source, Workspace::TARGET, Access::ReadOnly)),
        Workspace::Direct { source, access } => Some((source, Workspace::TARGET, *access)),
    };
    let mounts = spec.policy.mounts.iter().map(|mount| (&mount.source, mount.target.as_str(), mount.access));
    workspace.into_iter().chain(mounts).collect()
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
