//! What callers of `serve` and `mcp-server` get of the owner's vaults.

use crate::{
    context::Context,
    secrets::{self, Wanted as Asked},
    vaults::VaultArgs,
};
use agentkernel_engine::{Engine, clock, request::SandboxInfo, values::Values};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{HostPattern, Origin, Secret, SecretBinding, SecretName},
};
use agentkernel_server::secrets::{About, SecretBroker, Wanted};
use agentkernel_trust::{Change, Meta, Vault, require};
use async_trait::async_trait;

/// Gives secrets of the vault only to hosts that the vault lists for them, and none of the server's environment.
#[derive(Debug)]
pub(crate) struct Broker {
    context: Context,
    vault: VaultArgs,
}

impl Broker {
    pub(crate) const fn new(context: Context, vault: VaultArgs) -> Self {
        Self { context, vault }
    }

    fn all(&self) -> Vec<Box<dyn Vault>> {
        self.vault.all(&self.context, &[])
    }

    /// In whichever vault it is: the first that has it hides the others.
    fn refuse_owners(&self, name: &SecretName) -> Result<()> {
        for vault in self.all() {
            vault.list()?.iter().filter(|meta| meta.name() == name).try_for_each(Meta::check_caller)?;
        }
        Ok(())
    }

    /// What is not bound to a host by its owner goes nowhere at the word of a caller.
    fn refuse_unlisted(&self, bindings: &[SecretBinding]) -> Result<()> {
        let vaults = self.all();
        let asked: Vec<&dyn Vault> = vaults.iter().map(AsRef::as_ref).collect();
        for binding in bindings.iter().filter(|binding| *binding.origin() == Origin::Vault) {
            let name = binding.name();
            if require(name, &asked)?.meta().hosts().is_empty() {
                let host = binding.host().map_or_else(|| "HOST".to_owned(), ToString::to_string);
                return Err(Error::new(
                    Kind::Denied,
                    format!(
                        "the vault lists no host that secret '{name}' may go to, so callers cannot bind it"
                    ),
                )
                .with_hint(format!("agentkernel secret set {name} --host {host}")));
            }
        }
        Ok(())
    }
}

fn asked(wanted: &Wanted) -> Asked {
    Asked { bindings: wanted.bindings.clone(), files: wanted.files.clone(), of_environment: Vec::new() }
}

#[async_trait]
impl SecretBroker for Broker {
    fn values(&self, wanted: &Wanted) -> Result<Values> {
        self.refuse_unlisted(&wanted.bindings)?;
        asked(wanted).resolved(&self.context, &self.vault)
    }

    async fn keep(&self, engine: &Engine, info: &SandboxInfo, wanted: &Wanted) -> Result<()> {
        secrets::keep(&self.context, engine, info, &asked(wanted), &self.vault).await
    }

    async fn of_existing(&self, engine: &Engine, info: &SandboxInfo) -> Result<Values> {
        secrets::of_existing(&self.context, engine, info, &Asked::default(), &self.vault)
    }

    fn list(&self) -> Result<Vec<About>> {
        let mut all = Vec::new();
        for vault in self.all() {
            all.extend(vault.list()?.into_iter().map(|meta| About {
                name: meta.name().clone(),
                hosts: meta.hosts().to_vec(),
                header: meta.header().cloned(),
                set_at: meta.set_at(),
            }));
        }
        Ok(all)
    }

    fn set(&self, name: &SecretName, value: Secret, hosts: Vec<HostPattern>) -> Result<()> {
        let hosts = (!hosts.is_empty()).then_some(hosts);
        let set_at = u64::try_from(clock::now() / 1000).unwrap_or_default();
        let change = Change { name: name.clone(), value, hosts, header: None, set_at, by_caller: true };
        self.refuse_owners(name)?;
        self.vault.file(&self.context, None).put(change).map(drop)
    }

    fn delete(&self, name: &SecretName) -> Result<bool> {
        self.refuse_owners(name)?;
        let mut deleted = false;
        for vault in self.all() {
            deleted |= vault.delete(name)?;
        }
        Ok(deleted)
    }
}
