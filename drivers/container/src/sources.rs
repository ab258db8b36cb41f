//! What of this machine a sandbox shows, from the look at it until an engine has mounted it.
//!
//! Engines mount by name and follow links, and a sandbox that can write beside a source could put one in its place in
//! between. What is mounted as it is has the same numbers inside, which the agent compares before it does anything. Of what
//! lies under an overlay, or comes through another kernel, nothing tells inside: names on the way to that are watched.

use crate::{
    mounts::Overlays,
    watch::{self, Watch},
};
use agentkernel_guest::meant::{Identity, Meant};
use agentkernel_model::{Error, Result, mount::Workspace, spec::SandboxSpec};
use rustix::{fd::OwnedFd, fs::CWD};
use std::path::Path;

/// Held: what is not could be removed, and its numbers be another's.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    held: Vec<OwnedFd>,
    meant: Vec<Meant>,
    watch: Option<Watch>,
}

/// Whether the numbers of a file are the same inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    Same,
    /// A kernel of its own makes them up.
    Others,
}

impl Sources {
    /// Looks at all that `spec` mounts.
    ///
    /// # Errors
    /// When one has a symbolic link in its path, or is gone.
    pub(crate) fn open(spec: &SandboxSpec, overlays: Overlays, numbers: Numbers) -> Result<Self> {
        let mut sources = Self::default();
        match &spec.workspace {
            Workspace::None => {}
            // The copy is made from a directory that is opened for it.
            Workspace::View(source) if overlays == Overlays::Copied => {
                watch::open(CWD, source.as_os_str(), source)?;
            }
            Workspace::View(source) => sources.watch(source)?,
            Workspace::Direct { source, .. } => sources.add(source, Workspace::TARGET, numbers)?,
        }
        for mount in &spec.policy.mounts {
            sources.add(&mount.source, mount.target.as_str(), numbers)?;
        }
        Ok(sources)
    }

    fn add(&mut self, source: &Path, target: &str, numbers: Numbers) -> Result<()> {
        if numbers == Numbers::Others {
            return self.watch(source);
        }
        let file = watch::open(CWD, source.as_os_str(), source)?;
        let identity = Identity::of(&file)
            .map_err(|errno| Error::io(format!("cannot look at {}", source.display()), errno.into()))?;
        self.meant.push(Meant { target: target.to_owned(), identity });
        self.held.push(file);
        Ok(())
    }

    fn watch(&mut self, source: &Path) -> Result<()> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => Watch::new()?,
        };
        let file = self.watch.insert(watch).follow(source)?;
        self.held.push(file);
        Ok(())
    }

    /// What the agent is to find.
    pub(crate) fn meant(&self) -> Vec<Meant> {
        self.meant.clone()
    }

    /// To be asked when the engine has mounted them.
    ///
    /// # Errors
    /// [`Kind::Conflict`](agentkernel_model::Kind::Conflict) when one that is watched was replaced meanwhile.
    pub(crate) fn check(&self) -> Result<()> {
        self.watch.as_ref().map_or(Ok(()), Watch::check)
    }
}
