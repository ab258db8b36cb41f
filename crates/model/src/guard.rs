//! What a command must not change in a project that it may write: files by which programs of the host are made to run
//! something. This is the list and its grammar; nobody here looks at a disk.

use crate::{
    Error, Result,
    mount::{Access, Mount, Workspace},
    path::GuestPath,
    suggest,
    text::printable,
};
use std::{fmt, path::Path, str::FromStr};

/// The repository of a project. It stays writable, or nothing could be committed; [`IN_REPOSITORY`] does not.
pub const REPOSITORY: &str = ".git";

/// What of a repository makes git run something: hooks, configuration, and the places that lead to other ones. Worktrees
/// and modules are the repositories of other directories of the host.
pub const IN_REPOSITORY: [&str; 6] =
    [".git/commondir", ".git/config", ".git/config.worktree", ".git/hooks", ".git/modules", ".git/worktrees"];

/// What else is kept, by what obeys it: git's hooks kept outside of the repository, shells, direnv, editors, agents,
/// agentkernel itself.
pub const IN_PROJECT: [&str; 41] = [
    ".husky",
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".cshrc",
    ".kshrc",
    ".login",
    ".profile",
    ".tcshrc",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    ".envrc",
    ".devcontainer",
    ".devcontainer.json",
    "agentkernel.toml",
    ".dir-locals.el",
    ".emacs",
    ".exrc",
    ".gvimrc",
    ".idea",
    ".nvim.lua",
    ".nvimrc",
    ".vim",
    ".vimrc",
    ".vscode",
    ".zed",
    ".aider.conf.yml",
    ".claude",
    ".codex",
    ".continue",
    ".cursor",
    ".gemini",
    ".mcp.json",
    ".opencode",
    ".windsurf",
    "opencode.json",
];

/// Every name that is kept read-only, and the repository, which stands for all that is kept of it.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(REPOSITORY).chain(IN_REPOSITORY).chain(IN_PROJECT)
}

/// A name of [`names`] that somebody allows to be written: relative to the directory that is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardedName(&'static str);

impl GuardedName {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether `name` is this one, or lies below it.
    #[must_use]
    pub fn covers(self, name: &str) -> bool {
        name.strip_prefix(self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for GuardedName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = text.strip_prefix("./").unwrap_or(text);
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        names().find(|name| *name == plain).map(Self).ok_or_else(|| {
            let known: Vec<&str> = names().collect();
            Error::invalid(format!("'{}' is nothing that is kept read-only", printable(text)))
                .with_hint(suggest::hint(plain, &known))
        })
    }
}

impl fmt::Display for GuardedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A host directory that is mounted, and where it is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub source: &'a Path,
    pub target: &'a str,
}

impl<'a> Place<'a> {
    /// `mount`, when what is in it can be written.
    #[must_use]
    pub fn writable(mount: &'a Mount) -> Option<Self> {
        let place = Self { source: &mount.source, target: mount.target.as_str() };
        (mount.access == Access::ReadWrite).then_some(place)
    }

    /// `workspace`, when what is in it can be written and is the host's.
    #[must_use]
    pub fn writable_workspace(workspace: &'a Workspace) -> Option<Self> {
        match workspace {
            Workspace::Direct { source, access: Access::ReadWrite } => {
                Some(Self { source, target: Workspace::TARGET })
            }
            Workspace::Direct { access: Access::ReadOnly, .. } | Workspace::View(_) | Workspace::None => None,
        }
    }

    /// The mount that keeps `name`. A repository is mounted on itself: what is mounted on cannot be renamed, so that
    /// nobody can put another one in its place.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] when the path inside gets longer than one may be.
    pub fn mount(self, name: &str, access: Access) -> Result<Mount> {
        let target: GuestPath = format!("{}/{name}", self.target).parse()?;
        Ok(Mount { source: self.source.join(name), target, access })
    }

    /// Whether `mount` is one that [`Place::mount`] makes for this place.
    #[must_use]
    pub fn is_kept_by(self, mount: &Mount) -> bool {
        let inside = mount.target.as_str().strip_prefix(self.target).and_then(|rest| rest.strip_prefix('/'));
        inside.is_some_and(|name| {
            names().any(|known| known == name)
                && mount.source.strip_prefix(self.source).is_ok_and(|rest| rest == Path::new(name))
                && (mount.access == Access::ReadOnly || name == REPOSITORY)
        })
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
