//! What a sandbox's record says of its secrets: which, for whom and in which header, and never a value.

use super::{HeaderName, HostPattern, Origin, SecretBinding, SecretName};
use serde::{Deserialize, Serialize};

/// A [`SecretBinding`] without its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretGrant {
    pub name: SecretName,
    pub held: Held,
    /// `None`: the hosts that the vault has for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPattern>,
    /// `None`: what the vault says, or [`super::header_for`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderName>,
}

/// Who has the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// One of the vaults.
    Vault,
    /// Whoever gave it: it was written on the command line.
    Caller,
}

impl From<&SecretBinding> for SecretGrant {
    fn from(binding: &SecretBinding) -> Self {
        Self {
            name: binding.name().clone(),
            held: match binding.origin() {
                Origin::Vault => Held::Vault,
                Origin::Inline(_) => Held::Caller,
            },
            host: binding.host().cloned(),
            header: binding.header().cloned(),
        }
    }
}
