//! The keychain of the user's session: Secret Service on Linux (GNOME Keyring, KWallet, KeePassXC), Keychain on macOS.

#[cfg(target_os = "macos")]
mod apple;
#[cfg(target_os = "linux")]
mod service;

#[cfg(target_os = "macos")]
use apple as system;
#[cfg(target_os = "linux")]
use service as system;

use crate::{Change, Entry, Meta, Put, Vault, VaultKind, document};
use agentkernel_model::{
    Error, Result,
    secret::{Secret, SecretName},
};
use std::fmt;

/// What agentkernel uses of a keychain: values by account, all below one name of ours.
pub trait Keychain: fmt::Debug {
    /// Whether it can be used now, without asking anybody anything.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Unavailable`] when there is none, `Denied` when it is locked.
    fn ready(&self) -> Result<()>;

    /// The value of an account. A locked keychain asks its user to unlock it.
    ///
    /// # Errors
    /// As [`Keychain::ready`]; `Denied` when it stays locked, `Timeout` when nobody answers.
    fn get(&self, account: &str) -> Result<Option<Secret>>;

    /// Sets or replaces one, under a label for people.
    ///
    /// # Errors
    /// As [`Keychain::get`].
    fn put(&self, account: &str, label: &str, value: &Secret) -> Result<()>;

    /// Forgets one; whether there was one.
    ///
    /// # Errors
    /// As [`Keychain::get`].
    fn delete(&self, account: &str) -> Result<bool>;

    /// Every account of ours.
    ///
    /// # Errors
    /// As [`Keychain::get`].
    fn accounts(&self) -> Result<Vec<String>>;
}

/// The keychain of this system.
#[derive(Debug, Clone)]
pub struct OsKeychain(system::Service);

impl OsKeychain {
    /// `bus` is the address of the session's message bus (`DBUS_SESSION_BUS_ADDRESS`), where there is one; macOS needs
    /// none. Does no I/O.
    #[must_use]
    pub fn new(bus: Option<String>) -> Self {
        Self(system::Service::new(bus))
    }
}

impl Keychain for OsKeychain {
    fn ready(&self) -> Result<()> {
        self.0.ready()
    }

    fn get(&self, account: &str) -> Result<Option<Secret>> {
        self.0.get(account)
    }

    fn put(&self, account: &str, label: &str, value: &Secret) -> Result<()> {
        self.0.put(account, label, value)
    }

    fn delete(&self, account: &str) -> Result<bool> {
        self.0.delete(account)
    }

    fn accounts(&self) -> Result<Vec<String>> {
        self.0.accounts()
    }
}

/// A keychain as a vault: one item for each secret, which holds the hosts and the header with the value.
#[derive(Debug)]
pub struct KeychainVault(Box<dyn Keychain>);

impl KeychainVault {
    #[must_use]
    pub fn new(keychain: Box<dyn Keychain>) -> Self {
        Self(keychain)
    }
}

const PREFIX: &str = "secret/";

fn account(name: &SecretName) -> String {
    format!("{PREFIX}{name}")
}

impl Vault for KeychainVault {
    fn kind(&self) -> VaultKind {
        VaultKind::Keychain
    }

    fn list(&self) -> Result<Vec<Meta>> {
        let accounts = self.0.accounts()?;
        // What else is under our name is not a secret of this kind: keys of file vaults.
        let names = accounts.iter().filter_map(|account| account.strip_prefix(PREFIX)?.parse().ok());
        let mut all = Vec::new();
        for name in names {
            // One that was deleted meanwhile is not there.
            all.extend(self.get(&name)?.map(|entry| entry.meta().clone()));
        }
        all.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(all)
    }

    fn get(&self, name: &SecretName) -> Result<Option<Entry>> {
        let Some(item) = self.0.get(&account(name))? else { return Ok(None) };
        let entry = document::decode_one(item.reveal()).ok().filter(|entry| entry.meta().name() == name);
        entry.map(Some).ok_or_else(|| {
            Error::internal(format!("the keychain's item of secret '{name}' is not what agentkernel writes"))
                .with_hint(format!("agentkernel secret delete {name} --vault keychain"))
        })
    }

    fn put(&self, change: Change) -> Result<Put> {
        let old = self.get(&change.name)?;
        let entry = change.over(old.as_ref().map(Entry::meta))?;
        let name = entry.meta().name();
        let item = Secret::wiped(document::encode_one(&entry)?)
            .map_err(|e| e.with_hint("keep it in the file vault: --vault file"))?;
        self.0.put(&account(name), &format!("agentkernel: {name}"), &item)?;
        Ok(Put { meta: entry.meta().clone(), replaced: old.is_some() })
    }

    fn delete(&self, name: &SecretName) -> Result<bool> {
        self.0.delete(&account(name))
    }
}

#[cfg(test)]
#[path = "keychain_tests.rs"]
pub(crate) mod tests;
