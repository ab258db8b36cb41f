//! Files of credentials: `~/.docker/config.json` and `auth.json` of containers/image have one format.

use crate::{credentials::Credentials, secret::Secret};
use agentkernel_model::{Error, Kind, Result};
use base64::Engine as _;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};
use zeroize::Zeroizing;

const MAX_LEN: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Entry {
    /// `user:password` in base64.
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<Secret>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<Secret>,
}

impl AuthFile {
    /// What `path` says; `None` when there is no such file.
    ///
    /// # Errors
    /// [`Kind::Config`] when it is broken or longer than 1 MiB. No error quotes it.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let fail = |e| Error::io(format!("cannot read '{}'", path.display()), e);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(fail(e)),
        };
        let mut text = Zeroizing::new(Vec::new());
        file.take(MAX_LEN + 1).read_to_end(&mut text).map_err(fail)?;
        if text.len() as u64 > MAX_LEN {
            return Err(broken(path, "is longer than 1 MiB"));
        }
        // The parser's own words may quote what it found.
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|e| broken(path, &format!("is broken in line {}, column {}", e.line(), e.column())))
    }

    pub(crate) fn helper_of(&self, key: &str) -> Option<&str> {
        self.helpers.get(key).map(String::as_str)
    }

    pub(crate) fn store(&self) -> Option<&str> {
        self.store.as_deref().filter(|name| !name.is_empty())
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.auths.get(key).filter(|entry| entry.credentials().is_some())
    }
}

impl Entry {
    /// `None` for an entry without any: tools leave such behind when a helper has the credentials.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let given = |secret: &Option<Secret>| secret.clone().filter(|s| !s.is_empty());
        if let Some(token) = given(&self.registry_token) {
            return Some(Credentials::Token(token));
        }
        if let Some(token) = given(&self.identity_token) {
            return Some(Credentials::Refresh(token));
        }
        if let Some(auth) = given(&self.auth) {
            return decode(&auth);
        }
        let (username, password) = (self.username.clone()?, given(&self.password)?);
        Some(Credentials::Password { username, password })
    }
}

fn decode(auth: &Secret) -> Option<Credentials> {
    let engine = base64::engine::general_purpose::STANDARD;
    let bytes = Zeroizing::new(engine.decode(auth.reveal().trim()).ok()?);
    let (username, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    // Some tools end it with a NUL.
    let password = Secret::new(password.trim_end_matches('\0').to_owned());
    Some(Credentials::Password { username: username.to_owned(), password })
}

fn broken(path: &Path, why: &str) -> Error {
    Error::new(Kind::Config, format!("'{}' {why}", path.display()))
        .with_hint("it holds credentials of registries: mend it, or log in again")
}
