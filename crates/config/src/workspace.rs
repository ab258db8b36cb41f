//! What of this machine a configuration shows inside: `/workspace` and mounts. Paths are texts here; nobody looks at them.

use crate::{bound, section::Section};
use agentkernel_model::{
    Error, Result,
    mount::{Access, Mount, VolumeArg, Workspace},
    path::GuestPath,
    policy::Profile,
    suggest,
    text::printable,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// How a directory is shown at `/workspace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The directory itself.
    ReadWrite,
    /// The directory itself; nothing can be written.
    ReadOnly,
    /// A view: what is written stays inside.
    View,
    /// Nothing is shown.
    None,
}

pub(crate) const MODES: [&str; 4] = ["rw", "ro", "view", "none"];

impl Share {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
            Self::View => "view",
            Self::None => "none",
        }
    }

    #[must_use]
    fn of(self, source: PathBuf) -> Workspace {
        match self {
            Self::ReadWrite => Workspace::Direct { source, access: Access::ReadWrite },
            Self::ReadOnly => Workspace::Direct { source, access: Access::ReadOnly },
            Self::View => Workspace::View(source),
            Self::None => Workspace::None,
        }
    }
}

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "rw" => Ok(Self::ReadWrite),
            "ro" => Ok(Self::ReadOnly),
            "view" => Ok(Self::View),
            "none" => Ok(Self::None),
            _ => Err(Error::invalid(format!("'{}' is not a mode of the workspace", printable(text)))
                .with_hint(suggest::hint(text, &MODES))),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `[workspace]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceRequest {
    /// The directory, relative to the configuration's or absolute. `None`: the one that is shown anyway, if any.
    pub path: Option<String>,
    /// `None`: as for a directory that is named on the command line, or as it is shown anyway. Without a path, a person's
    /// wish about the project's directory.
    pub share: Option<Share>,
    /// The mode of a file that was only found: what is shown anyway is shown no wider than this. It never asks for
    /// something to be shown.
    pub limit: Option<Share>,
}

impl WorkspaceRequest {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self> {
        let path = section.text("path", |text| host_path(text).map(str::to_owned))?;
        let share = section.parsed("mode")?;
        if path.is_some() && share == Some(Share::None) {
            return Err(section
                .error_at("mode", "'workspace.mode' is none, and 'workspace.path' names a directory")
                .with_hint("leave one of them out"));
        }
        Ok(Self { path, share, limit: None })
    }

    /// The workspace that is named here, with a relative path taken from `base`. `None` when none is named: then
    /// [`WorkspaceRequest::narrow`] what would be shown anyway.
    #[must_use]
    pub fn named(&self, base: &Path, profile: Profile) -> Option<Workspace> {
        if self.share == Some(Share::None) {
            return Some(Workspace::None);
        }
        let share = self.share.unwrap_or(match profile {
            Profile::Restrictive => Share::View,
            Profile::Moderate | Profile::Permissive => Share::ReadWrite,
        });
        self.path.as_ref().map(|path| share.of(base.join(path)))
    }

    /// `shown` with the modes that are written here, as far as they are narrower: a view is never made writable, and where
    /// nothing is shown nothing will be.
    #[must_use]
    pub fn narrow(&self, shown: Workspace) -> Workspace {
        [self.share, self.limit].into_iter().flatten().fold(shown, Share::narrow)
    }
}

impl Share {
    /// `shown`, no wider than `self`.
    fn narrow(shown: Workspace, share: Self) -> Workspace {
        let source = match &shown {
            Workspace::None => return Workspace::None,
            Workspace::View(source) | Workspace::Direct { source, .. } => source.clone(),
        };
        match share {
            Self::ReadWrite => shown,
            Self::View if matches!(shown, Workspace::Direct { access: Access::ReadOnly, .. }) => shown,
            Self::View | Self::ReadOnly | Self::None => share.of(source),
        }
    }
}

/// `[[mounts]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    source: String,
    target: GuestPath,
    access: Access,
}

impl MountRequest {
    /// `source` is a path, absolute or relative to the configuration's directory, or the name of a managed volume: a
    /// path has a slash, or is `.` or `..`.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`] for an empty or overlong source, a source that is neither, and a target on
    /// which nothing can be mounted.
    pub fn new(source: &str, target: GuestPath, access: Access) -> Result<Self> {
        host_path(source)?;
        Mount::check_target(&target)?;
        let request = Self { source: source.to_owned(), target, access };
        request.volume(Path::new("/"))?;
        Ok(request)
    }

    pub(crate) fn read(section: &Section<'_>) -> Result<Self> {
        let missing = |key: &str| {
            section
                .error(format!("this [[mounts]] has no '{key}'"))
                .with_hint("each has a source and a target, such as source = \"./data\", target = \"/data\"")
        };
        let access = match section.boolean("read_only")? {
            Some(true) => Access::ReadOnly,
            Some(false) | None => Access::ReadWrite,
        };
        let target = section.text("target", |text| {
            let target = text.parse()?;
            Mount::check_target(&target).map(|()| target)
        })?;
        let target: GuestPath = target.ok_or_else(|| missing("target"))?;
        section
            .text("source", |source| Self::new(source, target.clone(), access))?
            .ok_or_else(|| missing("source"))
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub const fn target(&self) -> &GuestPath {
        &self.target
    }

    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// What is mounted, a relative path taken from `base`.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`] when the source is no path and no name of a volume.
    pub fn volume(&self, base: &Path) -> Result<VolumeArg> {
        let (target, access) = (self.target.clone(), self.access);
        if self.source.contains('/') || self.source == "." || self.source == ".." {
            return Ok(VolumeArg::Host(Mount { source: base.join(&self.source), target, access }));
        }
        let name = self.source.parse().map_err(|_| {
            let shown = printable(&self.source);
            Error::invalid(format!("'{shown}' is no path and no name of a volume"))
                .with_hint(format!("for a directory write \"./{shown}\""))
        })?;
        Ok(VolumeArg::Managed { name, target, access })
    }
}

/// A text that can be a path of this machine.
pub(crate) fn host_path(text: &str) -> Result<&str> {
    if text.is_empty() {
        return Err(Error::invalid("'' is not a path").with_hint("write a path, such as \".\""));
    }
    bound::text(text, bound::LONGEST_WORD)
}

/// Whether a path, taken from a project's directory, stays in it as far as the text can tell. `..` is refused wherever it
/// stands: behind a link it leads elsewhere than the text says. Links are the business of whoever opens it.
pub(crate) fn stays_inside(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| part != "..")
}
