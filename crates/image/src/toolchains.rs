//! Tool installations under the caller's home that its PATH leads to: rustup, pyenv, rbenv, nvm. Their toolchain
//! directories and nothing else of the home.

use crate::HostFacts;
use agentkernel_backend::{Graft, rootfs::Layer};
use agentkernel_model::path::GuestPath;
use std::path::Path;

/// What was found: directories to show, at the path that they have on the host because such installations hold
/// absolute paths; entries for PATH; and variables that say where the installation is.
#[derive(Debug, Default)]
pub(crate) struct Toolchains {
    pub(crate) grafts: Vec<Graft>,
    pub(crate) path: Vec<GuestPath>,
    pub(crate) env: Vec<(String, String)>,
}

/// One kind of installation, with paths relative to the home.
struct Kind {
    /// An entry of PATH below this directory means that the installation is in use.
    path: &'static str,
    shown: &'static [&'static str],
    /// Variable and what it points at.
    env: Option<(&'static str, &'static str)>,
}

const KINDS: [Kind; 4] = [
    // cargo's registry cache and credentials stay outside: CARGO_HOME inside is the sandbox's own.
    Kind {
        path: ".cargo/bin",
        shown: &[".cargo/bin", ".rustup/toolchains", ".rustup/settings.toml"],
        env: Some(("RUSTUP_HOME", ".rustup")),
    },
    Kind { path: ".pyenv", shown: &[".pyenv"], env: Some(("PYENV_ROOT", ".pyenv")) },
    Kind { path: ".rbenv", shown: &[".rbenv"], env: Some(("RBENV_ROOT", ".rbenv")) },
    Kind { path: ".nvm/versions", shown: &[".nvm/versions"], env: None },
];

/// Only installations directly under `facts.home`, and only directories that are really there (a link is not followed:
/// it could lead to any place of the home).
pub(crate) fn find(facts: &HostFacts) -> Toolchains {
    let mut found = Toolchains::default();
    let Some(home) = facts.home.as_deref().filter(|h| h.is_absolute()) else { return found };
    for kind in &KINDS {
        let root = home.join(kind.path);
        let entries: Vec<GuestPath> =
            facts.path.iter().filter(|p| p.starts_with(&root)).filter_map(|p| guest(p)).collect();
        if entries.is_empty() {
            continue;
        }
        found.grafts.extend(kind.shown.iter().filter_map(|relative| graft(&home.join(relative))));
        found.path.extend(entries);
        if let Some((key, relative)) = kind.env
            && let Some(path) = guest(&home.join(relative))
        {
            found.env.push((key.to_owned(), path.as_str().to_owned()));
        }
    }
    found
}

fn graft(path: &Path) -> Option<Graft> {
    let meta = path.symlink_metadata().ok()?;
    let target = guest(path)?;
    (meta.is_dir() || meta.is_file()).then(|| Graft {
        source: path.to_owned(),
        target,
        layer: Layer::ReadOnly,
    })
}

fn guest(path: &Path) -> Option<GuestPath> {
    path.to_str()?.parse().ok()
}
