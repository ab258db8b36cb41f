//! The few calls of Docker's API that starting, checking and emptying an engine takes. Podman answers the same.

use super::http::{Answer, Body, request};
use agentkernel_model::{Error, Kind, Result, text::printable};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// How often an engine is asked to remove what was there: once more for what was being made meanwhile.
const ROUNDS: usize = 3;

/// The API of an engine behind a Unix socket.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

/// A container as the engine tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// Places of the host that are mounted in it.
    pub sources: Vec<PathBuf>,
}

impl Api {
    pub(super) const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The API at an address such as `unix:///run/docker.sock`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is another kind of address.
    pub fn at(address: &str) -> Result<Self> {
        let socket = address.strip_prefix("unix://").filter(|path| path.starts_with('/'));
        let refused = || Error::invalid(format!("'{}' is no address of a Unix socket", printable(address)));
        Ok(Self::new(socket.ok_or_else(|| refused().with_hint("unix:///PATH"))?.into()))
    }

    /// As it stands in `DOCKER_HOST` and `CONTAINER_HOST`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request; any status is an answer.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
        let text = body.map(Value::to_string);
        let body = text.as_ref().map(|t| Body { kind: "application/json", bytes: t.as_bytes() });
        request(&self.socket, method, target, body)
    }

    /// As [`Self::call`], for what must succeed; no content is `null`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] with what the engine says when it refuses.
    pub fn json(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Value> {
        let answer = succeeded(self.call(method, target, body)?, method, target)?;
        if answer.body().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(answer.body()).map_err(|e| unreadable(method, target).with_source(e))
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn ping(&self) -> Result<()> {
        let answer = succeeded(self.call("GET", "/_ping", None)?, "GET", "/_ping")?;
        if answer.body() == b"OK" { Ok(()) } else { Err(unreadable("GET", "/_ping")) }
    }

    /// All containers, running or not.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let mut containers = Vec::new();
        for id in self.ids()? {
            // The list does not tell of mounts with every engine.
            match self.json("GET", &format!("/containers/{id}/json"), None) {
                Ok(about) => {
                    containers.push(Container { labels: labels(&about), sources: sources(&about), id })
                }
                // Of one that went meanwhile Docker says 404 and Podman 500, and their lists may have it still.
                Err(e) if e.message().to_ascii_lowercase().contains("no such container") => {}
                Err(e) => return Err(e),
            }
        }
        Ok(containers)
    }

    fn ids(&self) -> Result<Vec<String>> {
        let target = "/containers/json?all=1";
        let list = self.json("GET", target, None)?;
        let ids = list.as_array().into_iter().flatten().map(|c| c["Id"].as_str().map(str::to_owned));
        ids.collect::<Option<_>>().ok_or_else(|| unreadable("GET", target))
    }

    /// The names of all volumes.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn volumes(&self) -> Result<Vec<String>> {
        let about = self.json("GET", "/volumes", None)?;
        let volumes = about["Volumes"].as_array().into_iter().flatten();
        Ok(volumes.filter_map(|v| v["Name"].as_str().map(printable)).collect())
    }

    /// Kills and removes one container with its own volumes; one that is gone is success.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn remove(&self, id: &str) -> Result<()> {
        let target = format!("/containers/{id}?force=true&v=true");
        let answer = self.call("DELETE", &target, None)?;
        // 409: somebody else is at it.
        if matches!(answer.status(), 404 | 409) {
            return Ok(());
        }
        match succeeded(answer, "DELETE", &target) {
            Err(e) if self.ids()?.iter().any(|there| there == id) => Err(e),
            _ => Ok(()),
        }
    }

    /// Kills and removes all containers.
    ///
    /// # Errors
    /// When some are there still.
    pub fn clear(&self) -> Result<()> {
        for _ in 0..ROUNDS {
            let ids = self.ids()?;
            if ids.is_empty() {
                return Ok(());
            }
            ids.iter().try_for_each(|id| self.remove(id))?;
        }
        let left = self.ids()?;
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::new(Kind::Unavailable, format!("{} containers cannot be removed", left.len())))
    }

    /// Makes an image of one layer from a tar archive; its id.
    ///
    /// # Errors
    /// When the engine refuses.
    pub fn import(&self, archive: &[u8]) -> Result<String> {
        // A name of its own: the next import would take a common one away.
        let target = &format!("/images/create?fromSrc=-&repo=testkit&tag={}", uuid::Uuid::now_v7());
        let body = Body { kind: "application/x-tar", bytes: archive };
        let answer = request(&self.socket, "POST", target, Some(body))?;
        let answer = succeeded(answer, "POST", target)?;
        // One line of JSON per step; the last one says the id.
        let said = String::from_utf8_lossy(answer.body());
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last: Option<Value> = last.and_then(|line| serde_json::from_str(line).ok());
        let id = last.and_then(|step| step["status"].as_str().map(str::to_owned));
        id.filter(|id| id.starts_with("sha256:")).ok_or_else(|| {
            Error::new(Kind::Unavailable, format!("an image was not imported: {}", answer.text()))
        })
    }
}

fn labels(about: &Value) -> BTreeMap<String, String> {
    let labels = about["Config"]["Labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn sources(about: &Value) -> Vec<PathBuf> {
    let mounts = about["Mounts"].as_array().into_iter().flatten();
    mounts.filter_map(|mount| mount["Source"].as_str().map(PathBuf::from)).collect()
}

fn succeeded(answer: Answer, method: &str, target: &str) -> Result<Answer> {
    if matches!(answer.status(), 200..=299 | 304) {
        return Ok(answer);
    }
    let (status, said) = (answer.status(), answer.text());
    Err(Error::new(Kind::Unavailable, format!("the engine refuses {method} {target}: {status} {said}")))
}

fn unreadable(method: &str, target: &str) -> Error {
    Error::new(Kind::Unavailable, format!("the engine answers {method} {target} with something else"))
}
