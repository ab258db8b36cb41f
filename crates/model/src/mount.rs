//! Host directories and files shown inside a sandbox.

use crate::{Error, Result, name::VolumeName, path::GuestPath, text::printable};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// One host path shown inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Absolute path on the host.
    pub source: PathBuf,
    pub target: GuestPath,
    pub access: Access,
}

/// Places inside that belong to the sandbox itself: nothing may be mounted on or below them. In most images /var/run is a
/// link to /run.
const RESERVED: [&str; 6] =
    ["/proc", "/dev", "/sys", "/.agentkernel", "/run/agentkernel", "/var/run/agentkernel"];
/// What has such places in it: nothing may be mounted on these.
const ABOVE: [&str; 3] = ["/", "/run", "/var/run"];

/// What `--volume` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeArg {
    /// A directory or file of this machine.
    Host(Mount),
    /// A managed volume, by name.
    Managed { name: VolumeName, target: GuestPath, access: Access },
}

impl VolumeArg {
    /// Parses `SOURCE:TARGET[:ro|:rw]`; read-write is the default. A source with a slash (or `.` or `..`) is a path, taken
    /// from `cwd` when it is relative; any other is the name of a volume.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] when the text breaks the grammar or the target is `/` or a kernel file system.
    pub fn parse(text: &str, cwd: &Path) -> Result<Self> {
        let fail = |why: &str| {
            Error::invalid(format!("volume '{}' {why}", printable(text)))
                .with_hint("write HOST_PATH:SANDBOX_PATH[:ro], such as ./data:/data:ro")
        };
        let (rest, access) = match text.rsplit_once(':') {
            Some((rest, "ro")) => (rest, Access::ReadOnly),
            Some((rest, "rw")) => (rest, Access::ReadWrite),
            _ => (text, Access::ReadWrite),
        };
        let (source, target) = rest.rsplit_once(':').ok_or_else(|| fail("has no target"))?;
        if source.is_empty() {
            return Err(fail("has no source"));
        }
        let target: GuestPath = target.parse()?;
        Mount::check_target(&target)?;
        if source.contains('/') || source == "." || source == ".." {
            return Ok(Self::Host(Mount { source: cwd.join(source), target, access }));
        }
        let name = source.parse().map_err(|_| {
            fail("names no volume and no path")
                .with_hint(format!("for a directory here write ./{}:{target}", printable(source)))
        })?;
        Ok(Self::Managed { name, target, access })
    }

    #[must_use]
    pub const fn target(&self) -> &GuestPath {
        match self {
            Self::Host(mount) => &mount.target,
            Self::Managed { target, .. } => target,
        }
    }
}

impl Mount {
    /// # Errors
    /// [`crate::Kind::Invalid`] when `target` belongs to the sandbox itself, or has what does in it.
    pub fn check_target(target: &GuestPath) -> Result<()> {
        let reserved = RESERVED.iter().any(|r| {
            let path = target.as_str();
            path.strip_prefix(r).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if reserved || ABOVE.contains(&target.as_str()) {
            return Err(Error::invalid(format!("nothing can be mounted on '{target}'"))
                .with_hint("choose another place inside, such as /data"));
        }
        Ok(())
    }
}

/// What `/workspace` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workspace {
    /// No project: `/workspace` does not exist.
    None,
    /// A copy-on-write view of this host directory; what is written never reaches it.
    View(PathBuf),
    /// The host directory itself.
    Direct { source: PathBuf, access: Access },
}

impl Workspace {
    /// Where it is inside.
    pub const TARGET: &'static str = "/workspace";
}
