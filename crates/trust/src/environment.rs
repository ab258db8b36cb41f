//! The vault of variables: what a CI system hands to a job. Read only, and it has only what the caller looked up.

use crate::{Change, Entry, Meta, Put, Vault, VaultKind};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{Secret, SecretName},
};
use std::collections::BTreeMap;

/// Variables, by name. Which hosts they may go to is the binding's business.
#[derive(Debug, Clone, Default)]
pub struct EnvVault(BTreeMap<SecretName, Secret>);

impl EnvVault {
    #[must_use]
    pub const fn new(variables: BTreeMap<SecretName, Secret>) -> Self {
        Self(variables)
    }
}

fn meta(name: &SecretName) -> Result<Meta> {
    Meta::new(name.clone(), Vec::new(), None, 0)
}

fn read_only() -> Error {
    Error::new(Kind::Unsupported, "the environment is a vault that can only be read")
        .with_hint("use --vault file or --vault keychain, or set the variable in your shell")
}

impl Vault for EnvVault {
    fn kind(&self) -> VaultKind {
        VaultKind::Env
    }

    fn list(&self) -> Result<Vec<Meta>> {
        self.0.keys().map(meta).collect()
    }

    fn get(&self, name: &SecretName) -> Result<Option<Entry>> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        Ok(Some(Entry::new(meta(name)?, value.clone())))
    }

    fn put(&self, _: Change) -> Result<Put> {
        Err(read_only())
    }

    fn delete(&self, _: &SecretName) -> Result<bool> {
        Err(read_only())
    }
}
