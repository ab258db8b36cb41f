//! What every vault can do.

use crate::{Entry, Meta};
use agentkernel_model::{
    Error, Result,
    secret::{self, HeaderName, HostPattern, Secret, SecretName},
    suggest,
};
use std::{fmt, str::FromStr};

/// Which vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VaultKind {
    File,
    Keychain,
    Env,
}

impl VaultKind {
    /// How the kinds are spelled, in the order in which they are asked.
    pub const NAMES: [&'static str; 3] = ["file", "keychain", "env"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Keychain => "keychain",
            Self::Env => "env",
        }
    }
}

impl fmt::Display for VaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for VaultKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "file" => Ok(Self::File),
            "keychain" => Ok(Self::Keychain),
            "env" => Ok(Self::Env),
            _ => {
                Err(Error::invalid("there is no vault of that name")
                    .with_hint(suggest::hint(text, &Self::NAMES)))
            }
        }
    }
}

/// A secret that is to be set.
#[derive(Debug, Clone)]
pub struct Change {
    pub name: SecretName,
    pub value: Secret,
    /// `None`: those that it has; a new secret that is called as a well-known service's key gets that service's hosts.
    /// Empty: any host.
    pub hosts: Option<Vec<HostPattern>>,
    /// `None`: the one that it has.
    pub header: Option<HeaderName>,
    /// Seconds since 1970-01-01 UTC.
    pub set_at: u64,
    /// Whether a caller of a server sets it, who may replace what callers have set and nothing else.
    pub by_caller: bool,
}

impl Change {
    /// The entry that takes the place of `old`.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when that is not a caller's to replace.
    pub(crate) fn over(self, old: Option<&Meta>) -> Result<Entry> {
        if let Some(old) = old.filter(|_| self.by_caller) {
            old.check_caller()?;
        }
        let known = || {
            let provider = secret::for_name(&self.name);
            provider.map(|provider| provider.hosts().collect()).unwrap_or_default()
        };
        let hosts = self.hosts.unwrap_or_else(|| old.map_or_else(known, |old| old.hosts().to_vec()));
        let header = self.header.or_else(|| old.and_then(|old| old.header().cloned()));
        let meta = Meta::new(self.name, hosts, header, self.set_at)?;
        Ok(Entry::new(if self.by_caller { meta.by_caller() } else { meta }, self.value))
    }
}

/// What was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub meta: Meta,
    /// Whether there was one of that name.
    pub replaced: bool,
}

/// A place for secrets. All that two processes do at once is done one after the other; a process that is killed leaves
/// either what was before or what it was about to write.
pub trait Vault: fmt::Debug {
    fn kind(&self) -> VaultKind;

    /// What it has, by name, without values.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Unavailable`] when it cannot be reached, `Denied` when others could read it or its key
    /// does not fit, `Internal` when it is damaged. A damaged vault is never written to.
    fn list(&self) -> Result<Vec<Meta>>;

    /// The secret of that name, where it has one.
    ///
    /// # Errors
    /// As [`Vault::list`].
    fn get(&self, name: &SecretName) -> Result<Option<Entry>>;

    /// Sets or replaces one.
    ///
    /// # Errors
    /// As [`Vault::list`]; `Exhausted` when it is full; `Unsupported` where it is read-only; `Conflict` when another
    /// process does not end what it does with it.
    fn put(&self, change: Change) -> Result<Put>;

    /// Forgets one; whether there was one. Repeating it is no error.
    ///
    /// # Errors
    /// As [`Vault::put`].
    fn delete(&self, name: &SecretName) -> Result<bool>;
}
