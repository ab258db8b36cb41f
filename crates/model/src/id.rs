//! Identifiers that are not names: sandbox ids and backend ids.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The identity of one sandbox for its whole life; every resource that belongs to it carries it (UUID v7, RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxId(uuid::Uuid);

impl SandboxId {
    /// A new id. Time and randomness come from the `uuid` crate: ids are unique, not secret.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two calls differ, which a Default should not")]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// # Errors
    /// [`crate::Kind::Invalid`] when `text` is no UUID.
    pub fn parse(text: &str) -> crate::Result<Self> {
        uuid::Uuid::try_parse(text).map(Self).map_err(|_| {
            crate::Error::invalid(format!("'{}' is no sandbox id", crate::text::printable(text)))
        })
    }

    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The id of a backend, such as `native`. A newtype and not an enum, so that no code outside a driver can match on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendId(String);

impl BackendId {
    /// `text` in lower case. Whether such a backend exists is the registry's to say.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
