//! Secrets: their values, which no formatting gives away, their names, and where they may go.

mod binding;
mod domain;
mod grant;
mod header;
mod provider;

pub use binding::{Origin, SecretBinding};
pub use domain::HostPattern;
pub use grant::{Held, SecretGrant};
pub use header::{HeaderName, SecretHeader, Shape};
pub use provider::{Provider, for_host, for_name, header_for};

use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What stands in the environment of a sandbox where the value of a secret would.
pub const PLACEHOLDER: &str = "ak-proxy-managed";

/// The value of a secret. Its memory is wiped when it is dropped, it is compared in constant time, and it is neither
/// shown nor serialized: whoever needs it has to call [`Secret::reveal`].
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The longest value, in bytes.
    pub const MAX: usize = 64 * 1024;

    /// # Errors
    /// [`Kind::Invalid`] for nothing, and for more than [`Secret::MAX`] bytes.
    pub fn new(value: Vec<u8>) -> Result<Self> {
        Self::wiped(Zeroizing::new(value))
    }

    /// The same, for what is wiped already when it is refused.
    ///
    /// # Errors
    /// As [`Secret::new`].
    pub fn wiped(value: Zeroizing<Vec<u8>>) -> Result<Self> {
        match value.len() {
            0 => Err(Error::invalid("the value of a secret is empty")
                .with_hint("give a value, or pipe one in on stdin")),
            1..=Self::MAX => Ok(Self(value)),
            _ => Err(Error::new(
                Kind::Invalid,
                format!("the value of a secret is longer than {} KiB", Self::MAX / 1024),
            )
            .with_hint("keep the file elsewhere, and a key to it here")),
        }
    }

    /// The value itself, for the one place that sends it, stores it or was asked to show it.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

/// How long it takes depends on the lengths alone.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The name of a secret, and of the environment variable that stands for it inside.
///
/// 1 to 64 ASCII letters, digits and `_`, not beginning with a digit. What begins as tokens of well-known services do is
/// no name: it is a value in the wrong place, and would be shown. For the same reason no error repeats what was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

/// How tokens begin that could pass for names.
const TOKENS: [&str; 16] = [
    "AIza",
    "AKIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "gsk_",
    "hf_",
    "npm_",
    "r8_",
    "rk_live_",
    "sk_live_",
    "sk_test_",
    "xai_",
];

impl SecretName {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if TOKENS.iter().any(|start| text.starts_with(start)) {
            return Err(Error::invalid("a value stands where the name of a secret should be").with_hint(
                "write a name such as GITHUB_TOKEN first; the value may have been seen: consider a new one",
            ));
        }
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let named = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(sound)
            && !text.starts_with(|c: char| c.is_ascii_digit());
        if named {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(
            "what was written is not a valid name of a secret (not repeated here: it may be a value)",
        )
        .with_hint("use 1 to 64 letters, digits and '_', beginning with no digit, such as ANTHROPIC_API_KEY"))
    }
}

impl TryFrom<String> for SecretName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
