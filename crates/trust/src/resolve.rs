//! From what was typed to what is sent: which value goes to which host, in which header.

use crate::{Entry, Meta, Vault, VaultKind};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{self, HeaderName, HostPattern, Origin, Secret, SecretBinding, SecretHeader, SecretName, Shape},
    suggest,
};

/// A secret on its way to one host, or one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    name: SecretName,
    host: HostPattern,
    header: SecretHeader,
    secret: Secret,
}

impl Bound {
    /// `header` alone carries it; `None`: in what the service of `host` wants.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the value cannot stand in that header.
    pub fn new(
        name: SecretName,
        host: HostPattern,
        header: Option<HeaderName>,
        secret: Secret,
    ) -> Result<Self> {
        let header = match header {
            Some(header) => SecretHeader::new(header, Shape::Raw),
            None => secret::header_for(&name, &host),
        };
        // Before anything starts, and not at the first request. The error names the header; this says whose it is.
        header.value(&secret).map_err(|e| {
            Error::invalid(format!("secret '{name}' cannot be sent to {host}"))
                .with_source(e)
                .with_hint(format!("store it again as one line: agentkernel secret set {name}"))
        })?;
        Ok(Self { name, host, header, secret })
    }

    #[must_use]
    pub const fn name(&self) -> &SecretName {
        &self.name
    }

    /// Whether `host` is one of a service that is known, and its header the one in which that takes keys.
    #[must_use]
    pub fn is_at_service(&self, host: &HostPattern) -> bool {
        let known = secret::header_for(&self.name, host);
        secret::for_host(host).is_some() && known.name() == self.header.name()
    }

    #[must_use]
    pub const fn host(&self) -> &HostPattern {
        &self.host
    }

    #[must_use]
    pub const fn header(&self) -> &SecretHeader {
        &self.header
    }

    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }
}

/// The secret `name`, of the first vault that has it.
///
/// # Errors
/// What a vault that was asked fails with.
pub fn find(name: &SecretName, vaults: &[&dyn Vault]) -> Result<Option<(VaultKind, Entry)>> {
    for vault in vaults {
        if let Some(entry) = vault.get(name)? {
            return Ok(Some((vault.kind(), entry)));
        }
    }
    Ok(None)
}

/// The secret `name`, of the first vault that has it.
///
/// # Errors
/// [`Kind::NotFound`], with the nearest name that there is; what a vault fails with.
pub fn require(name: &SecretName, vaults: &[&dyn Vault]) -> Result<Entry> {
    find(name, vaults)?.map(|(_, entry)| entry).ok_or_else(|| missing(name, vaults))
}

/// What each of `bindings` sends, with the values of `vaults`, which are asked in order. Every value is one that its header
/// can hold.
///
/// # Errors
/// [`Kind::NotFound`] when no vault has a secret; `Denied` when its vault does not let it go to the host that a binding
/// names; `Invalid` when nothing says where it goes, when two would be sent to the same host in the same header, and when a
/// value cannot stand in a header; and what a vault fails with.
pub fn resolve(bindings: &[SecretBinding], vaults: &[&dyn Vault]) -> Result<Vec<Bound>> {
    let mut all: Vec<Bound> = Vec::new();
    for binding in bindings {
        for bound in resolve_one(binding, vaults)? {
            let same =
                |other: &&Bound| other.host == bound.host && other.header.name() == bound.header.name();
            if let Some(other) = all.iter().find(same) {
                return Err(Error::invalid(format!(
                    "secrets '{}' and '{}' would both be sent to {} in header '{}'",
                    other.name,
                    bound.name,
                    bound.host,
                    bound.header.name()
                ))
                .with_hint("leave one out, or name another header: KEY:host:Header"));
            }
            all.push(bound);
        }
    }
    Ok(all)
}

fn resolve_one(binding: &SecretBinding, vaults: &[&dyn Vault]) -> Result<Vec<Bound>> {
    let name = binding.name();
    let (value, meta) = match binding.origin() {
        Origin::Inline(value) => (value.clone(), None),
        Origin::Vault => {
            let entry = require(name, vaults)?;
            let meta = entry.meta().clone();
            (entry.into_value(), Some(meta))
        }
    };
    let spelled = binding.header().or_else(|| meta.as_ref().and_then(Meta::header));
    hosts(binding, meta.as_ref())?
        .into_iter()
        .map(|host| Bound::new(name.clone(), host, spelled.cloned(), value.clone()))
        .collect()
}

/// Where it goes: the host of the binding, if the vault lets it go there; else all that the vault says.
fn hosts(binding: &SecretBinding, meta: Option<&Meta>) -> Result<Vec<HostPattern>> {
    let name = binding.name();
    let allowed = meta.map(Meta::hosts).unwrap_or_default();
    let Some(host) = binding.host() else {
        if allowed.is_empty() {
            return Err(Error::invalid(format!("nothing says which host secret '{name}' goes to"))
                .with_hint(format!("write {name}:api.example.com")));
        }
        return Ok(allowed.to_vec());
    };
    if !allowed.is_empty() && !allowed.iter().any(|pattern| pattern.covers(host)) {
        let list: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        return Err(Error::new(
            Kind::Denied,
            format!("secret '{name}' may not go to {host}; its vault allows {}", list.join(", ")),
        )
        .with_hint(format!("if it should: agentkernel secret set {name} --host {host}")));
    }
    Ok(vec![host.clone()])
}

fn missing(name: &SecretName, vaults: &[&dyn Vault]) -> Error {
    let kinds: Vec<&str> = vaults.iter().map(|vault| vault.kind().as_str()).collect();
    // A vault that cannot be listed has said so already, or is the reason for nothing here.
    let names: Vec<String> = vaults
        .iter()
        .filter_map(|vault| vault.list().ok())
        .flatten()
        .map(|meta| meta.name().to_string())
        .collect();
    let hint = match suggest::nearest(name.as_str(), names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean '{near}'?"),
        // That one is only read.
        None if vaults.iter().all(|vault| vault.kind() == VaultKind::Env) => {
            format!("set the variable {name} where agentkernel is called")
        }
        None => format!("agentkernel secret set {name}"),
    };
    Error::new(Kind::NotFound, format!("there is no secret '{name}' in the vaults: {}", kinds.join(", ")))
        .with_hint(hint)
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
