//! Identifiers that are not names: sandbox ids and backend ids.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

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

/// The id of one detached command of a sandbox: 8 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DetachedId(u32);

impl DetachedId {
    /// A random one. Whether a sandbox has it already is the caller's to see.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two calls differ, which a Default should not")]
    pub fn new() -> Self {
        // The last bits of a UUID v7 are random; the first are the time.
        let [.., a, b, c, d] = uuid::Uuid::now_v7().into_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

impl FromStr for DetachedId {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        let digits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| {
            crate::Error::invalid(format!(
                "'{}' is no id of a detached command",
                crate::text::printable(text)
            ))
            .with_hint("ids have 8 digits, such as 0c2f91ab; 'agentkernel sandbox exec-list NAME' shows them")
        })
    }
}

impl fmt::Display for DetachedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl TryFrom<String> for DetachedId {
    type Error = crate::Error;

    fn try_from(text: String) -> crate::Result<Self> {
        text.parse()
    }
}

impl From<DetachedId> for String {
    fn from(id: DetachedId) -> Self {
        id.to_string()
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

#[cfg(test)]
mod tests {
    use super::DetachedId;

    #[test]
    fn ids_of_detached_commands_have_one_spelling() {
        let id: DetachedId = "00c2f91a".parse().unwrap();
        assert_eq!(id.to_string(), "00c2f91a");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00c2f91a\"");
        let new = DetachedId::new();
        assert_eq!(new.to_string().parse::<DetachedId>().unwrap(), new);
        for wrong in ["", "0c2f91a", "0C2F91AB", "+c2f91ab", "0c2f91ab0", "../../ab", "0c2f91a\u{663}"] {
            assert!(wrong.parse::<DetachedId>().is_err(), "{wrong}");
        }
    }
}
