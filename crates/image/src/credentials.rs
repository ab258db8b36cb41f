//! Credentials for registries, from where other tools keep them: `~/.docker/config.json`, `auth.json` of
//! containers/image, and credential helpers. Read only when a registry asks for some.

use crate::{
    authfile::{AuthFile, Entry},
    helper,
    secret::Secret,
};
use agentkernel_model::{Result, text::printable};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What proves to a registry who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Password {
        username: String,
        password: Secret,
    },
    /// To be exchanged for a token.
    Refresh(Secret),
    /// A token as the registry wants it.
    Token(Secret),
}

/// Where credentials may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyring<'a> {
    pub(crate) docker_config: Option<&'a Path>,
    pub(crate) containers_auth: Option<&'a Path>,
    /// Where credential helpers may be: the caller's PATH, split.
    pub(crate) helper_path: &'a [PathBuf],
    pub(crate) helper_timeout: Duration,
}

/// The names that Docker's own registry has in files of credentials; the first is the one that helpers know.
const DOCKER_HUB: [&str; 4] =
    ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"];

impl Keyring<'_> {
    /// The credentials for `repository` of the registry `host`, as references write it. A helper that fails is told to
    /// `note`, and the search goes on.
    ///
    /// # Errors
    /// [`Kind::Config`](agentkernel_model::Kind::Config) when a file is broken.
    pub(crate) async fn find(
        &self,
        host: &str,
        repository: &str,
        note: &dyn Fn(&str),
    ) -> Result<Option<Credentials>> {
        for path in [self.docker_config, self.containers_auth].into_iter().flatten() {
            let Some(file) = AuthFile::read(path)? else { continue };
            if let Some(found) = self.find_in(&file, host, repository, note).await {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn find_in(
        &self,
        file: &AuthFile,
        host: &str,
        repository: &str,
        note: &dyn Fn(&str),
    ) -> Option<Credentials> {
        let keys = keys(host, repository);
        let named = keys.iter().find_map(|key| file.helper_of(key));
        if let Some(name) = named.or(file.store()) {
            let server = if is_docker_hub(host) { DOCKER_HUB[0] } else { host };
            match helper::get(name, server, self.helper_path, self.helper_timeout).await {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(error) => note(&format!(
                    "no credentials for '{}' from a helper: {}",
                    printable(host),
                    error.message()
                )),
            }
        }
        keys.iter().find_map(|key| file.entry(key)).and_then(Entry::credentials)
    }
}

/// Under which keys a file may have credentials for `repository` of `host`, the most particular first.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let hosts: Vec<&str> = if is_docker_hub(host) { DOCKER_HUB.to_vec() } else { vec![host] };
    let mut keys = Vec::new();
    let mut path = repository;
    loop {
        keys.extend(hosts.iter().filter(|h| !h.contains("://")).map(|h| format!("{h}/{path}")));
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    for host in hosts {
        keys.push(host.to_owned());
        if !host.contains("://") {
            keys.extend(["", "/", "/v1/", "/v2/"].map(|end| format!("https://{host}{end}")));
        }
    }
    keys
}

fn is_docker_hub(host: &str) -> bool {
    DOCKER_HUB.contains(&host)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
