//! The engine under a whole run: one for all cases, and what they may not leave in it.

use agentkernel_testkit::engines::{Api, Container, Engine};
use std::{
    collections::BTreeMap,
    env,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Names the engine to the processes of cases; set by hand, a run uses that engine and starts none.
pub(crate) const ADDRESS: &str = "AGENTKERNEL_CONFORMANCE_ENGINE";
/// On everything that agentkernel makes in an engine.
const LABEL: &str = "sh.agentkernel.sandbox";
/// Where engines live: a short name, as sockets have them, and a disk that overlay file systems can be on.
const ROOT: &str = "/var/tmp";

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
    let address = env::var(ADDRESS).ok();
    variable(driver).zip(address).map(|(name, address)| (name.to_owned(), address)).into_iter().collect()
}

/// The engine of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    api: Api,
    // In this order: the engine is gone before its directory.
    own: Option<Mutex<Engine>>,
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
            return Ok(Some(Self { api, own: None, _place: None }));
        }
        let place = tempfile::Builder::new().prefix("ake-").tempdir_in(ROOT).map_err(|e| e.to_string())?;
        let start = if driver == "docker" { Engine::docker } else { Engine::podman };
        let engine = start(&place.path().join("e")).map_err(|e| e.to_string())?;
        Ok(Some(Self { api: engine.api().clone(), own: Some(Mutex::new(engine)), _place: Some(place) }))
    }

    pub(crate) fn address(&self) -> String {
        self.api.address()
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
