//! Where an engine listens: what the caller's environment says, contexts of the Docker CLI, and the usual places.

use crate::{
    flavor::Flavor,
    remote::{self, Beside, Refused, Remote},
};
use agentkernel_backend::Host;
use agentkernel_model::text::printable;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where an engine is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A Unix socket of this machine.
    Socket(PathBuf),
    /// Nothing listens, but this program can be started to.
    Service { program: PathBuf },
    /// Over a network.
    Remote(Remote),
    /// What was named cannot be used.
    Refused(Refused),
    /// Nowhere: what was looked for.
    Nowhere { looked: Vec<PathBuf> },
}

/// An address as `DOCKER_HOST`, `CONTAINER_HOST` and contexts have it.
fn parse(address: &str, flavor: Flavor, beside: Beside) -> Endpoint {
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Endpoint::Socket(path.into()),
        _ => remote::parse(address, flavor, beside).map_or_else(Endpoint::Refused, Endpoint::Remote),
    }
}

/// The first of `places` where a socket is.
fn usual(places: Vec<PathBuf>) -> Endpoint {
    use std::os::unix::fs::FileTypeExt as _;
    let is_socket = |place: &&PathBuf| fs::metadata(place).is_ok_and(|m| m.file_type().is_socket());
    match places.iter().find(is_socket) {
        Some(place) => Endpoint::Socket(place.clone()),
        None => Endpoint::Nowhere { looked: places },
    }
}

/// As the Docker CLI finds it (`DOCKER_HOST`, then the context), and where there is neither, the sockets of rootless
/// Docker, of Docker Desktop and of the system.
pub(crate) fn docker(host: &Host) -> Endpoint {
    let around = &host.surroundings;
    let config = around.variable("DOCKER_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| around.home.as_ref().map(|home| home.join(".docker")));
    if let Some(address) = around.variable("DOCKER_HOST") {
        let (verify, directory) = (around.variable("DOCKER_TLS_VERIFY"), around.variable("DOCKER_CERT_PATH"));
        let material = remote::material(verify, directory, config.as_deref());
        return parse(address, Flavor::Docker, Beside { material, key: None });
    }
    if let Some(found) = config.and_then(|dir| context(&dir, around.variable("DOCKER_CONTEXT"))) {
        return found;
    }
    let mut places = Vec::new();
    if host.uid != 0 {
        places.extend(runtime_dir(host).map(|dir| dir.join("docker.sock")));
        let home = around.home.iter();
        places.extend(
            home.flat_map(|h| [h.join(".docker/run/docker.sock"), h.join(".docker/desktop/docker.sock")]),
        );
    }
    places.push("/var/run/docker.sock".into());
    usual(places)
}

/// `CONTAINER_HOST`, then the socket of this user's Podman, then a service of our own where Podman is installed.
pub(crate) fn podman(host: &Host) -> Endpoint {
    if let Some(address) = host.surroundings.variable("CONTAINER_HOST") {
        let key = host.surroundings.variable("CONTAINER_SSHKEY").map(PathBuf::from);
        return parse(address, Flavor::Podman, Beside { material: None, key });
    }
    let dir = if host.uid == 0 { Some("/run".into()) } else { runtime_dir(host) };
    let found = usual(dir.into_iter().map(|dir| dir.join("podman/podman.sock")).collect());
    match found {
        Endpoint::Nowhere { looked } => match program(host, "podman") {
            Some(program) => Endpoint::Service { program },
            None => Endpoint::Nowhere { looked },
        },
        found => found,
    }
}

/// Where this user's sockets are.
pub(crate) fn runtime_dir(host: &Host) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(format!("/run/user/{}", host.uid))).filter(|dir| dir.is_dir());
    host.surroundings.runtime_dir.clone().or_else(usual)
}

/// The program `name` in the caller's PATH.
pub(crate) fn program(host: &Host, name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let runs =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    host.surroundings.path.iter().map(|dir| dir.join(name)).find(runs)
}

/// The engine of the Docker CLI's context: `name`, or the one that its settings name. `default` is no context.
fn context(config: &Path, name: Option<&str>) -> Option<Endpoint> {
    let read = |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).ok()?).ok();
    let current = || Some(read(config.join("config.json"))?.get("currentContext")?.as_str()?.to_owned());
    let name = name.map(str::to_owned).or_else(current).filter(|name| name != "default")?;
    // The store names a context's directory by the hash of its name.
    let directory: String =
        Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let meta = read(config.join("contexts/meta").join(&directory).join("meta.json"));
    let about = meta.as_ref().and_then(|meta| meta.pointer("/Endpoints/docker"));
    let address = about.and_then(|about| about.get("Host")?.as_str());
    let refused = |what: &str, hint: &str| {
        Endpoint::Refused(Refused::new(format!("the context '{}' {what}", printable(&name)), hint))
    };
    // Not some other engine in its place.
    let Some(address) = address else {
        return Some(refused("cannot be read", "see 'docker context ls', or unset DOCKER_CONTEXT"));
    };
    if about.and_then(|about| about.get("SkipTLSVerify")?.as_bool()) == Some(true) {
        let hint = "make the context again with ca=FILE and without skip-tls-verify";
        return Some(refused("does not want to know who its engine is", hint));
    }
    let material =
        Some(config.join("contexts/tls").join(directory).join("docker")).filter(|dir| dir.is_dir());
    Some(parse(address, Flavor::Docker, Beside { material, key: None }))
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
