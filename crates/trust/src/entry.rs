//! What a vault has of one secret.

use agentkernel_model::{
    Error, Kind, Result,
    secret::{HeaderName, HostPattern, Secret, SecretName},
};

/// Everything but the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    name: SecretName,
    hosts: Vec<HostPattern>,
    header: Option<HeaderName>,
    set_at: u64,
    by_caller: bool,
}

impl Meta {
    /// The most hosts of one secret.
    pub const MAX_HOSTS: usize = 64;

    /// Hosts are sorted, and each is there once.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for more than [`Meta::MAX_HOSTS`].
    pub fn new(
        name: SecretName,
        mut hosts: Vec<HostPattern>,
        header: Option<HeaderName>,
        set_at: u64,
    ) -> Result<Self> {
        hosts.sort();
        hosts.dedup();
        if hosts.len() > Self::MAX_HOSTS {
            return Err(Error::new(
                Kind::Invalid,
                format!("secret '{name}' has more than {} hosts", Self::MAX_HOSTS),
            )
            .with_hint("name a domain for many of them: --host '*.example.com'"));
        }
        Ok(Self { name, hosts, header, set_at, by_caller: false })
    }

    /// The same, set by a caller of a server.
    #[must_use]
    pub fn by_caller(self) -> Self {
        Self { by_caller: true, ..self }
    }

    /// Whether a caller of a server set it.
    #[must_use]
    pub const fn is_by_caller(&self) -> bool {
        self.by_caller
    }

    /// Sees that callers of a server may replace or delete it.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when its owner set it.
    pub fn check_caller(&self) -> Result<()> {
        if self.by_caller {
            return Ok(());
        }
        let what = format!("secret '{}' was set by the owner of this server", self.name);
        Err(Error::new(Kind::Conflict, what).with_hint(
            "choose another name; the owner changes it with 'agentkernel secret set' and 'delete'",
        ))
    }

    #[must_use]
    pub const fn name(&self) -> &SecretName {
        &self.name
    }

    /// The hosts that it may go to. None: wherever a binding says.
    #[must_use]
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// The header that carries it, alone. `None`: what the service of the host wants.
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }

    /// When the value was set: seconds since 1970-01-01 UTC; 0 where nobody knows.
    #[must_use]
    pub const fn set_at(&self) -> u64 {
        self.set_at
    }
}

/// A secret with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    meta: Meta,
    value: Secret,
}

impl Entry {
    #[must_use]
    pub const fn new(meta: Meta, value: Secret) -> Self {
        Self { meta, value }
    }

    #[must_use]
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    #[must_use]
    pub const fn value(&self) -> &Secret {
        &self.value
    }

    #[must_use]
    pub fn into_value(self) -> Secret {
        self.value
    }
}
