//! The header that carries a secret, and what is written around the value in it.

use super::Secret;
use crate::{Error, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// The name of a header field: a token of RFC 9110, section 5.6.2, in lower case. None that decides where a message goes
/// or where it ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderName(String);

/// Framing, routing and what belongs to one connection: a secret there would be sent elsewhere, or split messages.
const RESERVED: [&str; 15] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl HeaderName {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where most services look.
    #[must_use]
    pub fn authorization() -> Self {
        Self("authorization".to_owned())
    }

    /// For the table of providers, whose rows a test parses.
    pub(super) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }
}

impl FromStr for HeaderName {
    type Err = Error;

    /// The error does not repeat what was written: people write `x-api-key: VALUE` there.
    fn from_str(text: &str) -> Result<Self> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        // Digits alone are a port in the wrong place.
        let named = text.bytes().any(|b| b.is_ascii_alphabetic());
        if !(1..=Self::MAX).contains(&text.len()) || !named || !text.bytes().all(token) {
            return Err(Error::invalid("what was written is not a name of a header")
                .with_hint("write the name alone, such as X-Api-Key"));
        }
        let name = text.to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) {
            return Err(Error::invalid(format!("header '{name}' cannot carry a secret"))
                .with_hint("write the header that the service reads its key from, such as X-Api-Key"));
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for HeaderName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<HeaderName> for String {
    fn from(name: HeaderName) -> Self {
        name.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands around the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    Raw,
    /// `Bearer VALUE` (RFC 6750).
    Bearer,
    /// `Basic` and base64 of `USER:VALUE` (RFC 7617).
    Basic(&'static str),
}

/// A header that carries a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHeader {
    name: HeaderName,
    shape: Shape,
}

impl SecretHeader {
    #[must_use]
    pub const fn new(name: HeaderName, shape: Shape) -> Self {
        Self { name, shape }
    }

    /// `Authorization: Bearer VALUE`, which most services want.
    #[must_use]
    pub fn bearer() -> Self {
        Self::new(HeaderName::authorization(), Shape::Bearer)
    }

    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The field's value with `secret` in it.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] when the secret has bytes that cannot stand in a header: it was meant for something else,
    /// and a line end would let it write headers of its own.
    pub fn value(&self, secret: &Secret) -> Result<Zeroizing<Vec<u8>>> {
        let value = secret.reveal();
        // RFC 9110, section 5.5, without obs-text: visible characters, and blanks between them.
        let sound = value.iter().all(|b| matches!(b, b' '..=b'~'));
        if !sound || value.first() == Some(&b' ') || value.last() == Some(&b' ') {
            return Err(Error::invalid(format!(
                "a secret for header '{}' has line ends or other characters that no header can hold",
                self.name
            ))
            .with_hint("store it again without them: agentkernel secret set NAME"));
        }
        Ok(match self.shape {
            Shape::Raw => joined(&[value]),
            Shape::Bearer => joined(&[b"Bearer ", value]),
            Shape::Basic(user) => {
                let pair = joined(&[user.as_bytes(), b":", value]);
                let encoded = Zeroizing::new(STANDARD.encode(&*pair));
                joined(&[b"Basic ", encoded.as_bytes()])
            }
        })
    }
}

/// In memory of the right size from the start: growing would leave copies behind.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
