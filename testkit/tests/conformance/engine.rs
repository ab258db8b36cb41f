//! The engine under a whole run: one for all cases, and what they may not leave in it.

use crate::elsewhere;
use agentkernel_testkit::engines::{Api, Container, Engine, Tls};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Names the engine to the processes of cases; set by hand, a run uses that engine and starts none.
pub(crate) const ADDRESS: &str = "AGENTKERNEL_CONFORMANCE_ENGINE";
/// `tls`: the engine is treated as one of another machine, and is reached over TCP with TLS.
const ELSEWHERE: &str = "AGENTKERNEL_ENGINE_ELSEWHERE";
/// Names to the processes of cases what proves who they are to such an engine.
const CERTIFICATES: &str = "AGENTKERNEL_CONFORMANCE_CERTIFICATES";
/// On everything that agentkernel makes in an engine.
const LABEL: &str = "sh.agentkernel.sandbox";
/// Where engines live: a short name, as sockets have them, and a disk that overlay file systems can be on.
const ROOT: &str = "/var/tmp";
/// How volumes with the agent's files are called.
const AGENT: &str = "agentkernel-agent-";

/// The variable by which a driver is told where its engine is; `None` for a driver without one.
pub(crate) fn variable(driver: &str) -> Option<&'static str> {
    match driver {
        "docker" => Some("DOCKER_HOST"),
        "podman" => Some("CONTAINER_HOST"),
        _ => None,
    }
}

/// What a case's driver is told, from the environment that its run gave it.
pub(crate) fn variables(driver: &str) -> BTreeMap<String, String> {
    let of = |name: &str| env::var(name).ok();
    let certificates = ("DOCKER_CERT_PATH", of(CERTIFICATES));
    let named = variable(driver).map(|name| (name, of(ADDRESS))).into_iter().chain([certificates]);
    named.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Whether the engine cannot be shown this machine's files.
pub(crate) fn is_elsewhere() -> bool {
    env::var(ELSEWHERE).is_ok_and(|how| how == "tls")
}

/// The engine of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    api: Api,
    // In this order: the engine is gone before its directory.
    own: Option<Mutex<Engine>>,
    tls: Option<Tls>,
    /// The unpacked layer of the image that cases use there.
    root: Option<PathBuf>,
    _place: Option<tempfile::TempDir>,
}

impl Shared {
    /// The engine that `driver` needs: the one that is named, or a new one. `None` when it needs none.
    pub(crate) fn of(driver: &str) -> Result<Option<Self>, String> {
        if variable(driver).is_none() {
            return Ok(None);
        }
        if let Ok(address) = env::var(ADDRESS) {
            let api = Api::at(&address).map_err(|e| e.to_string())?;
            api.ping().map_err(|e| e.to_string())?;
            return Ok(Some(Self { api, own: None, tls: None, root: None, _place: None }));
        }
        let place = tempfile::Builder::new().prefix("ake-").tempdir_in(ROOT).map_err(|e| e.to_string())?;
        let dir = place.path().join("e");
        let tls = match is_elsewhere() {
            true => Some(Tls::make(&place.path().join("tls")).map_err(|e| e.to_string())?),
            false => None,
        };
        let engine = match (driver, &tls) {
            ("docker", Some(tls)) => Engine::docker_with_tls(&dir, tls),
            ("docker", None) => Engine::docker(&dir),
            (_, None) => Engine::podman(&dir),
            (_, Some(_)) => return Err(format!("only Docker is tried with {ELSEWHERE}")),
        };
        let engine = engine.map_err(|e| e.to_string())?;
        let root = tls.as_ref().map(|_| elsewhere::make(place.path())).transpose()?;
        let api = engine.api().clone();
        Ok(Some(Self { api, own: Some(Mutex::new(engine)), tls, root, _place: Some(place) }))
    }

    /// Its socket on this machine.
    pub(crate) fn address(&self) -> String {
        self.api.address()
    }

    /// Where agentkernel is told that it is, and with what.
    pub(crate) fn settings(&self, driver: &str) -> Vec<(&'static str, String)> {
        let address = self.tls.as_ref().map_or_else(|| self.address(), Tls::address);
        let certificates =
            self.tls.iter().map(|tls| ("DOCKER_CERT_PATH", tls.client().display().to_string()));
        variable(driver).map(|name| (name, address)).into_iter().chain(certificates).collect()
    }

    /// What the process of a case is told of it.
    pub(crate) fn for_case(&self, driver: &str) -> Vec<(&'static str, String)> {
        let name = |name| if name == "DOCKER_CERT_PATH" { CERTIFICATES } else { ADDRESS };
        let root = self.root.iter().map(|root| (elsewhere::ROOT, root.display().to_string()));
        self.settings(driver)
            .into_iter()
            .map(|(variable, value)| (name(variable), value))
            .chain(root)
            .collect()
    }

    /// Removes the agent of the data directory `data`, which its user keeps there for the next time.
    pub(crate) fn forget(&self, data: &Path) -> Result<(), String> {
        let Ok(kept) = fs::read_to_string(data.join("engines/owner")) else { return Ok(()) };
        let label = format!("sh.agentkernel.owner={}", owner(&kept));
        let volumes = self.api.volumes().map_err(|e| e.to_string())?;
        for volume in volumes.iter().filter(|name| name.starts_with(AGENT)) {
            let target = format!("/volumes/{volume}");
            let about = self.api.json("GET", &target, None);
            if about.is_ok_and(|about| about["Labels"].to_string().replace("\":\"", "=").contains(&label)) {
                self.api.json("DELETE", &target, None).map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    }

    /// What the case in `place` left in the engine: containers in which something of its place is mounted. They are
    /// removed, so that only the case that left them is red.
    pub(crate) fn leftovers(&self, place: &Path) -> Result<Vec<String>, String> {
        let containers = self.api.containers().map_err(|e| e.to_string())?;
        let own = |c: &&Container| c.sources.iter().any(|source| source.starts_with(place));
        let mut left = Vec::new();
        for container in containers.iter().filter(own) {
            left.push(told(container));
            self.api.remove(&container.id).map_err(|e| e.to_string())?;
        }
        Ok(left)
    }

    /// Ends the run's own engine, and says what all cases together left in it.
    ///
    /// An engine that was named has other users: there only what has our label is looked for.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let containers = self.api.containers().map_err(|e| e.to_string())?;
        let ours = |c: &&Container| self.own.is_some() || c.labels.contains_key(LABEL);
        let mut left: Vec<String> = containers.iter().filter(ours).map(told).collect();
        if let Some(engine) = &self.own {
            let volumes = self.api.volumes().map_err(|e| e.to_string())?;
            left.extend(volumes.into_iter().map(|name| format!("volume {name}")));
            engine.lock().unwrap_or_else(PoisonError::into_inner).stop().map_err(|e| e.to_string())?;
        }
        if left.is_empty() { Ok(()) } else { Err(format!("left in the engine: {}", left.join("; "))) }
    }
}

fn told(container: &Container) -> String {
    let sandbox = container.labels.get(LABEL).map_or("no sandbox", String::as_str);
    format!("container {} of {sandbox}", container.id.get(..12).unwrap_or(&container.id))
}

/// The mark in an engine elsewhere of the data directory that keeps `kept`, as the driver makes it.
fn owner(kept: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let id = |path: &&str| fs::read_to_string(path).ok().filter(|id| id.trim().len() == 32);
    let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"].iter().find_map(id).unwrap_or_default();
    let digest = Sha256::digest(format!("{kept} {}", machine.trim()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
