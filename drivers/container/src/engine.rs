//! The engine that this driver talks to, found when it is first needed.

use crate::{
    dial::{self, Way},
    endpoint::{self, Endpoint},
    facts::{self, Facts},
    flavor::Flavor,
    installation::{self, Installation},
    places,
    service::Service,
};
use agentkernel_backend::Host;
use agentkernel_model::{Error, Kind, Result};
use bollard::{ClientVersion, Docker};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// Seconds that one request may take: making a large image is the longest.
const PATIENCE: u64 = 600;

/// An engine that was found.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    pub(crate) facts: Facts,
    pub(crate) way: Way,
    pub(crate) sight: Sight,
    /// What tells our objects in it from those of others.
    pub(crate) owner: String,
    pub(crate) installation: Installation,
}

/// Whether an engine's containers can be shown files and sockets of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Here,
    /// It is on another machine, or in a virtual one.
    Elsewhere,
}

impl Engine {
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.sight == Sight::Elsewhere
    }

    /// What a sandbox remembers of an engine that is not simply this machine's.
    pub(crate) fn address(&self) -> Option<String> {
        self.is_elsewhere().then(|| self.way.to_string())
    }

    /// Whose images of ours are, where not all that would make them are on one machine.
    pub(crate) fn image_owner(&self) -> Option<&str> {
        self.is_elsewhere().then_some(self.owner.as_str())
    }

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
    /// What is remembered of it, of which it was not asked whether it still holds.
    remembered: OnceLock<Engine>,
    /// One search at a time.
    searching: Mutex<()>,
    service: Service,
}

impl Setup {
    /// For callers that cannot wait in any other way: blocks when it is called first, for as long as the engine takes.
    pub(crate) fn engine(&self, flavor: Flavor, host: &Host) -> Result<&Engine, Absence> {
        if let Some(engine) = self.found.get() {
            self.service.revive(host).map_err(Absence::Unusable)?;
            return Ok(engine);
        }
        let _alone = self.searching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = self.found.get() {
            return Ok(engine);
        }
        let engine = find(flavor, host, &self.service, self.remembered.get())?;
        Ok(self.found.get_or_init(|| engine))
    }

    /// For callers that only weigh what it can do: what is remembered of one of this machine, which takes no time, until it is
    /// [found](Self::engine). Whoever then asks it for a sandbox weighs again where [`Self::is_another`].
    pub(crate) fn known(&self, flavor: Flavor, host: &Host) -> Result<&Engine, Absence> {
        if self.found.get().is_none()
            && let Some(engine) = self.recall(flavor, host)
            && engine.way.socket().is_some()
        {
            return Ok(engine);
        }
        self.engine(flavor, host)
    }

    /// Whether all that is known of the engine is from memory.
    pub(crate) fn is_unasked(&self) -> bool {
        self.remembered.get().is_some() && self.found.get().is_none()
    }

    /// Whether the engine that was found is not what was remembered of it.
    pub(crate) fn is_another(&self) -> bool {
        let facts = |engine: &OnceLock<Engine>| engine.get().map(|engine| engine.facts.clone());
        self.remembered.get().is_some() && facts(&self.remembered) != facts(&self.found)
    }

    /// What is remembered of the engine; `None` where nothing is, or nothing listens.
    fn recall(&self, flavor: Flavor, host: &Host) -> Option<&Engine> {
        if self.remembered.get().is_none() {
            let way = known_way(flavor, host).ok()??;
            let facts = facts::remembered(&way, &facts_of(flavor, host))?;
            let engine = engine_of(way, facts, host).ok()?;
            return Some(self.remembered.get_or_init(|| engine));
        }
        self.remembered.get()
    }

    /// For callers on an event loop, where other work goes on while the engine is looked for.
    pub(crate) async fn ready(self: &Arc<Self>, flavor: Flavor, host: &Host) -> Result<&Engine, Absence> {
        let lost = |why: &str| Absence::Unusable(Error::internal(why.to_owned()));
        if self.found.get().is_none() || !self.service.is_well() {
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
            && let Some(engine) = self.recall(flavor, host)
        {
            return Ok(engine);
        }
        self.ready(flavor, host).await
    }

    /// Whether something listens where the engine is looked for, and for one over a network whether it answers. Nothing is
    /// started for it: where Podman has no service, one can be started when it is needed.
    pub(crate) async fn reach(&self, flavor: Flavor, host: &Host) -> Result<()> {
        let Some(way) = known_way(flavor, host)? else { return Ok(()) };
        match way.socket() {
            None => facts::ping(&way).await.map_err(|e| e.with_hint(elsewhere_hint(flavor, &way))),
            Some(_) => match way.dial().await {
                Ok(_) => Ok(()),
                Err(e) => Err(facts::unreachable(&way, e).with_hint(flavor.revival())),
            },
        }
    }
}

/// Where the engine is; `None`: a service of ours can be started to be it.
fn known_way(flavor: Flavor, host: &Host) -> Result<Option<Way>> {
    match endpoint(flavor, host) {
        Endpoint::Service { .. } => Ok(None),
        Endpoint::Socket(path) => Ok(Some(Way::Socket(path))),
        Endpoint::Remote(remote) => Way::to(remote, host).map(Some),
        Endpoint::Refused(refused) => Err(dial::refused(refused)),
        Endpoint::Nowhere { looked } => {
            Err(Error::new(Kind::NotFound, nowhere(flavor, &looked)).with_hint(flavor.hint()))
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

fn find(
    flavor: Flavor,
    host: &Host,
    service: &Service,
    remembered: Option<&Engine>,
) -> Result<Engine, Absence> {
    let way = way(flavor, host, service)?;
    let facts = facts::of(&way, &facts_of(flavor, host)).map_err(|error| {
        let hint = || {
            if way.socket().is_none() { elsewhere_hint(flavor, &way) } else { flavor.revival().to_owned() }
        };
        let is_hinted = way.socket().is_some() && error.hint().is_some();
        Absence::Unusable(if is_hinted { error } else { error.with_hint(hint()) })
    })?;
    let same = |engine: &&Engine| engine.facts == facts && engine.way.to_string() == way.to_string();
    match remembered.filter(same) {
        Some(engine) => Ok(engine.clone()),
        None => engine_of(way, facts, host),
    }
}

fn engine_of(way: Way, facts: Facts, host: &Host) -> Result<Engine, Absence> {
    let unusable = Absence::Unusable;
    let sight = if way.socket().is_some() && facts.local { Sight::Here } else { Sight::Elsewhere };
    if sight == Sight::Elsewhere {
        runs_our_programs(&way, &facts).map_err(unusable)?;
    }
    let version = ClientVersion { major_version: facts.api.0, minor_version: facts.api.1 };
    let docker = way.client(PATIENCE, &version).map_err(unusable)?;
    let installation = Installation::of(&host.exe, &installation::place(host)).map_err(unusable)?;
    let owner = match sight {
        Sight::Here => places::owner_mark(host),
        Sight::Elsewhere => places::owner_mark_elsewhere(host).map_err(unusable)?,
    };
    Ok(Engine { docker, facts, way, sight, owner, installation })
}

/// The agent is this very program.
fn runs_our_programs(way: &Way, facts: &Facts) -> Result<()> {
    let ours = std::env::consts::ARCH;
    let there = match facts.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    };
    let said = |text: &str| agentkernel_model::text::printable(text);
    if facts.system != "linux" {
        let what =
            format!("the engine at {way} has no containers of Linux, but of '{}'", said(&facts.system));
        return Err(Error::new(Kind::Unavailable, what).with_hint("switch it to Linux containers"));
    }
    if there != ours {
        let what =
            format!("the engine at {way} is on a machine of {}, and this program is for {ours}", said(there));
        return Err(Error::new(Kind::Unavailable, what)
            .with_hint(format!("use an engine on a machine of {ours}, or run agentkernel on that machine")));
    }
    Ok(())
}

fn elsewhere_hint(flavor: Flavor, way: &Way) -> String {
    match flavor {
        Flavor::Docker => format!("see whether it runs: docker --host {way} version"),
        Flavor::Podman => format!("see whether it runs: podman --remote --url {way} version"),
    }
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

fn way(flavor: Flavor, host: &Host, service: &Service) -> Result<Way, Absence> {
    match endpoint(flavor, host) {
        Endpoint::Socket(path) => Ok(Way::Socket(path)),
        Endpoint::Service { program } => {
            service.ensure(host, &program).map(Way::Socket).map_err(Absence::Unusable)
        }
        Endpoint::Remote(remote) => Way::to(remote, host).map_err(Absence::Unusable),
        Endpoint::Refused(refused) => Err(Absence::Unusable(dial::refused(refused))),
        Endpoint::Nowhere { looked } => Err(Absence::NotThere(nowhere(flavor, &looked))),
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
