//! The engine that this driver talks to, found when it is first needed.

use crate::{
    endpoint::{self, Endpoint},
    facts::{self, Facts},
    flavor::Flavor,
    installation::{self, Installation},
    service,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result};
use bollard::{ClientVersion, Docker};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Seconds that one request may take: making a large image is the longest.
const PATIENCE: u64 = 600;

/// An engine that was found.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    pub(crate) facts: Facts,
    pub(crate) socket: PathBuf,
    pub(crate) installation: Installation,
}

impl Engine {
    /// A file with the system call policy `json`, for engines that want the path of one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn profile(&self, host: &Host, json: &str) -> Result<String> {
        let digest: String =
            Sha256::digest(json.as_bytes()).iter().take(12).map(|b| format!("{b:02x}")).collect();
        let path = memory(host).join(format!("seccomp-{digest}.json"));
        if !path.exists() {
            let fresh = path.with_extension(format!("{}.new", std::process::id()));
            let written = fs::write(&fresh, json).and_then(|()| fs::rename(&fresh, &path));
            written.map_err(|e| Error::io(format!("cannot write {}", path.display()), e))?;
        }
        Ok(path.display().to_string())
    }
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Absence {
    /// Nothing of it is on this machine.
    NotThere(String),
    /// It is there and cannot be used.
    Unusable(Error),
}

impl From<Absence> for Error {
    fn from(absence: Absence) -> Self {
        match absence {
            Absence::NotThere(reason) => Self::new(Kind::Unavailable, reason).with_hint("agentkernel doctor"),
            Absence::Unusable(error) => error,
        }
    }
}

/// What was found, once something was.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    found: OnceLock<Engine>,
    /// One search at a time.
    searching: Mutex<()>,
}

impl Setup {
    /// For callers that cannot wait in any other way: blocks when it is called first, for as long as the engine takes.
    pub(crate) fn engine(&self, flavor: Flavor, host: &Host) -> Result<&Engine, Absence> {
        if let Some(engine) = self.found.get() {
            return Ok(engine);
        }
        let _alone = self.searching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = self.found.get() {
            return Ok(engine);
        }
        let engine = find(flavor, host)?;
        Ok(self.found.get_or_init(|| engine))
    }

    /// For callers on an event loop, where other work goes on while the engine is looked for.
    pub(crate) async fn ready(self: &Arc<Self>, flavor: Flavor, host: &Host) -> Result<&Engine, Absence> {
        let lost = |why: &str| Absence::Unusable(Error::internal(why.to_owned()));
        if self.found.get().is_none() {
            let (setup, host) = (Arc::clone(self), host.clone());
            let search = tokio::task::spawn_blocking(move || setup.engine(flavor, &host).map(drop));
            search.await.map_err(|_| lost("the search for an engine ended early"))??;
        }
        self.found.get().ok_or_else(|| lost("an engine was found and is not there"))
    }

    /// For a sandbox that runs, whose commands do not need the engine: what is remembered of it will do, and nobody is
    /// asked. Where nothing is, as [`Self::ready`].
    pub(crate) async fn remembered(
        self: &Arc<Self>,
        flavor: Flavor,
        host: &Host,
    ) -> Result<&Engine, Absence> {
        if self.found.get().is_none()
            && let Endpoint::Socket(socket) = endpoint(flavor, host)
            && let Some(facts) = facts::remembered(&socket, &facts_of(flavor, host))
        {
            let engine = engine_of(socket, facts, host)?;
            return Ok(self.found.get_or_init(|| engine));
        }
        self.ready(flavor, host).await
    }

    /// Whether something listens where the engine is looked for. Nothing is started for it: where Podman has no service,
    /// one can be started when it is needed.
    pub(crate) fn reach(&self, flavor: Flavor, host: &Host) -> Result<()> {
        let socket = match endpoint(flavor, host) {
            Endpoint::Service { .. } => return Ok(()),
            Endpoint::Socket(path) => path,
            Endpoint::Nowhere { looked } => {
                return Err(Error::new(Kind::NotFound, nowhere(flavor, &looked)).with_hint(flavor.hint()));
            }
            Endpoint::Remote(_) => return self.engine(flavor, host).map(drop).map_err(Error::from),
        };
        match UnixStream::connect(&socket) {
            Ok(_) => Ok(()),
            Err(e) => Err(facts::unreachable(&socket, e).with_hint(flavor.revival())),
        }
    }
}

/// Where what is remembered of engines lies.
fn memory(host: &Host) -> PathBuf {
    host.data.join("engines")
}

fn facts_of(flavor: Flavor, host: &Host) -> PathBuf {
    memory(host).join(format!("{}.json", flavor.name()))
}

fn find(flavor: Flavor, host: &Host) -> Result<Engine, Absence> {
    let socket = socket(flavor, host)?;
    let facts = facts::of(&socket, &facts_of(flavor, host)).map_err(Absence::Unusable)?;
    engine_of(socket, facts, host)
}

fn engine_of(socket: PathBuf, facts: Facts, host: &Host) -> Result<Engine, Absence> {
    let unusable = Absence::Unusable;
    if !facts.local {
        return Err(unusable(elsewhere(&format!("the engine at {}", socket.display()))));
    }
    let version = ClientVersion { major_version: facts.api.0, minor_version: facts.api.1 };
    let docker = Docker::connect_with_unix(&socket.display().to_string(), PATIENCE, &version)
        .map_err(|e| unusable(crate::fault::failed("reach the engine", e)))?;
    let installation = Installation::of(&host.exe, &installation::place(host)).map_err(unusable)?;
    Ok(Engine { docker, facts, socket, installation })
}

fn endpoint(flavor: Flavor, host: &Host) -> Endpoint {
    match flavor {
        Flavor::Docker => endpoint::docker(host),
        Flavor::Podman => endpoint::podman(host),
    }
}

fn nowhere(flavor: Flavor, looked: &[PathBuf]) -> String {
    let looked: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    format!("no socket of {} at {}", flavor.title(), looked.join(", "))
}

fn socket(flavor: Flavor, host: &Host) -> Result<PathBuf, Absence> {
    match endpoint(flavor, host) {
        Endpoint::Socket(path) => Ok(path),
        Endpoint::Service { program } => service::ensure(host, &program).map_err(Absence::Unusable),
        Endpoint::Remote(address) => {
            let address = agentkernel_model::text::printable(&address).to_string();
            Err(Absence::Unusable(elsewhere(&format!("the engine at '{address}'"))))
        }
        Endpoint::Nowhere { looked } => Err(Absence::NotThere(nowhere(flavor, &looked))),
    }
}

fn elsewhere(what: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("{what} is not on this machine, or runs in a virtual machine: it cannot share this machine's files"),
    )
    .with_hint("use an engine of this machine: unset DOCKER_HOST or CONTAINER_HOST, or name another context")
}
