//! The values of a sandbox's secrets, on their way from whoever looked them up to the gateway and into files. No record
//! and no state of a backend ever holds one.

use agentkernel_model::{
    Error, Result,
    policy::{EffectivePolicy, Network},
    secret::{Secret, SecretGrant, SecretName, Shape},
};
use agentkernel_trust::Bound;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// See the [module](self). Wiped when dropped; `Debug` shows none.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// What the gateway sends, for [`EffectivePolicy::secrets`].
    pub bound: Vec<Bound>,
    /// What becomes a file inside, for [`EffectivePolicy::secret_files`].
    pub files: Vec<(SecretName, Secret)>,
}

impl Values {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.files.is_empty()
    }

    /// Of all, some of them twice.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.bound.iter().map(Bound::name).chain(self.files.iter().map(|(name, _)| name))
    }

    /// Sees that these are the values of what `policy` has, no more and no fewer. `again` is the command that gives them.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`].
    pub(crate) fn check(&self, policy: &EffectivePolicy, again: &str) -> Result<()> {
        check_network(policy)?;
        let granted = |bound: &Bound| policy.secrets.iter().any(|grant| lets(grant, bound));
        if let Some(bound) = self.bound.iter().find(|bound| !granted(bound)) {
            let (name, host) = (bound.name(), bound.host());
            return Err(Error::invalid(format!(
                "the sandbox was not made for secret '{name}' to go to {host}"
            ))
            .with_hint(format!("make one that is: add --secret {name}:{host}")));
        }
        let files = &policy.secret_files;
        if let Some((name, _)) = self.files.iter().find(|(name, _)| !files.contains(name)) {
            return Err(Error::invalid(format!("the sandbox was not made for a file with secret '{name}'"))
                .with_hint(format!("make one that is: add --secret-file {name}")));
        }
        let unbound = policy.secrets.iter().find(|grant| !self.bound.iter().any(|bound| lets(grant, bound)));
        let missing = unbound
            .map(|grant| &grant.name)
            .or_else(|| files.iter().find(|name| !self.files.iter().any(|(given, _)| given == *name)));
        match missing {
            None => Ok(()),
            Some(name) => Err(Error::invalid(format!("the value of secret '{name}' was not given"))
                .with_hint(again.to_owned())),
        }
    }
}

/// Where values come from. It is asked when process 1 of the sandbox is there: one that is a clone of this process would
/// have in its memory what was looked up before, keys of vaults included.
#[derive(Clone)]
pub struct Source {
    look_up: Arc<dyn Fn() -> Result<Values> + Send + Sync>,
    asked: Arc<AtomicBool>,
}

impl Source {
    /// `look_up` may block, and is called once for each attempt to start the sandbox.
    pub fn new(look_up: impl Fn() -> Result<Values> + Send + Sync + 'static) -> Self {
        Self { look_up: Arc::new(look_up), asked: Arc::default() }
    }

    /// Whether values may be in the memory of this process.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The values of what `policy` has; nobody is asked where it has none.
    ///
    /// # Errors
    /// As whoever is asked, and as [`Values::check`].
    pub(crate) async fn ask(&self, policy: &EffectivePolicy) -> Result<Values> {
        if policy.secrets.is_empty() && policy.secret_files.is_empty() {
            return Ok(Values::default());
        }
        self.asked.store(true, Ordering::Relaxed);
        let look_up = Arc::clone(&self.look_up);
        let asking = tokio::task::spawn_blocking(move || look_up());
        let values =
            asking.await.map_err(|e| Error::internal("a look for secrets was cut off").with_source(e))??;
        values.check(policy, "give it with --secret or --secret-file")?;
        Ok(values)
    }
}

/// Of a sandbox without secrets.
impl Default for Source {
    fn default() -> Self {
        Self::new(|| Ok(Values::default()))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// # Errors
/// [`agentkernel_model::Kind::Invalid`] for secrets that nothing could send.
pub(crate) fn check_network(policy: &EffectivePolicy) -> Result<()> {
    if policy.secrets.is_empty() || matches!(policy.network, Network::Rules(_)) {
        return Ok(());
    }
    Err(Error::invalid("secrets that go to hosts need a network, and this sandbox has none")
        .with_hint("leave out --no-network, or choose another profile"))
}

/// A grant that names a header is for that header, with the value alone in it.
fn lets(grant: &SecretGrant, bound: &Bound) -> bool {
    let header = bound.header();
    grant.name == *bound.name()
        && grant.host.as_ref().is_none_or(|host| host == bound.host())
        && grant.header.as_ref().is_none_or(|name| header.shape() == Shape::Raw && name == header.name())
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
