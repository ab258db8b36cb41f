//! Real engines for tests: Docker and Podman, started for whoever runs the test, each in a directory of its own.
//!
//! The machine's own engines are neither used nor changed: there is no bridge, no packet filter and no shared state.
//! So a container here has the network mode `none`, or it does not start.

mod api;
mod daemon;
mod docker;
mod http;
mod place;
mod podman;
mod proxy;
mod rootless;
mod tls;

pub use api::{Api, Container};
pub use proxy::Proxy;
pub use tls::Tls;

use agentkernel_model::{Error, Kind, Result};
use daemon::Daemon;
use docker::Extras;
use place::Place;
use rustix::process::Signal;
use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// What a test did to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    Frozen,
    Dead,
}

/// How to start the daemon that answers once more on what it had.
struct Revival(Box<dyn Fn() -> Result<Daemon> + Send + Sync>);

impl fmt::Debug for Revival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revival").finish_non_exhaustive()
    }
}

/// A running engine. Dropping it ends what runs in it, then the engine, and removes its directory.
///
/// Its processes are told to end when the thread that started them ends; what they leave then, nobody removes.
#[derive(Debug)]
pub struct Engine {
    api: Api,
    place: Place,
    /// In the order in which they were started; the last one answers.
    daemons: Vec<Daemon>,
    revival: Option<Revival>,
    health: Health,
    /// Removes what only the engine itself may remove.
    purge: Option<Command>,
}

impl Engine {
    /// Docker in the new directory `dir`, with the runtime `runsc` where gVisor is installed; for an ordinary user, a
    /// rootless one, without it.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] without the programs, and with what the engine wrote when it does not start;
    /// [`Kind::Invalid`] when `dir` is too long a name for sockets.
    pub fn docker(dir: &Path) -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            docker::start(dir, Extras::default())
        } else {
            rootless::start(dir)
        }
    }

    /// Root's, which listens also where `tls` says, for callers with a certificate of its authority.
    ///
    /// # Errors
    /// As [`Self::docker`], and [`Kind::Unavailable`] for an ordinary user.
    pub fn docker_with_tls(dir: &Path, tls: &Tls) -> Result<Self> {
        docker::start(dir, Extras { tls: Some(tls), ..Extras::default() })
    }

    /// Root's, whose containers have the subordinate ids of `user` (`userns-remap`).
    ///
    /// # Errors
    /// As [`Self::docker`], when `user` has none, and [`Kind::Unavailable`] for an ordinary user.
    pub fn docker_remapped(dir: &Path, user: &str) -> Result<Self> {
        docker::start(dir, Extras { remap: Some(user), ..Extras::default() })
    }

    /// Podman's service in the new directory `dir`; for an ordinary user, a rootless one.
    ///
    /// # Errors
    /// As [`Self::docker`].
    pub fn podman(dir: &Path) -> Result<Self> {
        podman::start(dir)
    }

    const fn new(api: Api, place: Place) -> Self {
        Self { api, place, daemons: Vec::new(), revival: None, health: Health::Well, purge: None }
    }

    /// Kills the daemon that answers, with SIGKILL. What runs in containers runs on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemons.pop() else { return Ok(()) };
        self.health = Health::Dead;
        daemon.signal(Signal::KILL);
        daemon.end()
    }

    /// Ends the daemon that answers in order, as a service manager does: Docker ends its containers before.
    ///
    /// # Errors
    /// When it does not end.
    pub fn shut_down(&mut self) -> Result<()> {
        self.health = Health::Dead;
        self.daemons.pop().map_or(Ok(()), |mut daemon| daemon.end())
    }

    /// Has the daemon that answers answer nobody.
    pub fn freeze(&mut self) {
        if let Some(daemon) = self.daemons.last() {
            daemon.signal(Signal::STOP);
            self.health = Health::Frozen;
        }
    }

    /// Undoes [`Self::kill`], [`Self::shut_down`] and [`Self::freeze`]. Docker ends the containers of one that was killed.
    ///
    /// # Errors
    /// As when it was started; [`Kind::Unsupported`] for others that are dead.
    pub fn revive(&mut self) -> Result<()> {
        match (self.health, self.daemons.last(), &self.revival) {
            (Health::Well, _, _) => {}
            (Health::Frozen, Some(daemon), _) => daemon.signal(Signal::CONT),
            (_, _, Some(revival)) => self.daemons.push((revival.0)()?),
            (_, _, None) => return Err(Error::new(Kind::Unsupported, "rootless Docker is not started anew")),
        }
        self.health = Health::Well;
        self.api.ping()
    }

    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// Ends the engine and everything in it, and removes what is left of it. A second call does nothing.
    ///
    /// # Errors
    /// The first thing that could not be done; the others are tried all the same.
    pub fn stop(&mut self) -> Result<()> {
        let revived = self.revive();
        // An engine that ends with containers in it waits ten seconds for them.
        let mut first =
            if self.daemons.is_empty() { Ok(()) } else { revived.and_then(|()| self.api.clear()) };
        while let Some(mut daemon) = self.daemons.pop() {
            first = first.and(daemon.end());
        }
        first = first.and(self.place.end_processes());
        if let Some(mut purge) = self.purge.take() {
            // Mount points refuse; the place is removed below, after them.
            let ran = purge.output().map(|_| ()).map_err(|e| Error::io("cannot purge the storage", e));
            first = first.and(ran).and(self.place.end_processes());
        }
        first.and(self.place.remove())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Who wants to know calls `stop`.
        let _tried = self.stop();
    }
}

/// Where `program` of Debian's `package` is.
fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(Into::into);
    let mut places = std::env::split_paths(&path).chain(usual).map(|dir| dir.join(program));
    places.find(|p| p.is_file()).ok_or_else(|| {
        Error::new(Kind::Unavailable, format!("there is no {program} on this machine"))
            .with_hint(format!("sudo apt-get install {package}"))
    })
}

#[cfg(test)]
#[path = "engines_tests.rs"]
mod tests;
