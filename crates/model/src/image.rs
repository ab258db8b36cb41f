//! References to images.

use crate::{Error, Result, text::printable};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a sandbox's root file system is made from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageRef {
    /// The built-in image made from an allow-list of this machine's own files.
    Host,
    /// An OCI reference such as `python:3.12-alpine`, at most 256 bytes of `[A-Za-z0-9._/:@-]`.
    Oci(String),
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let byte_ok =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b':' | b'@' | b'-');
        let valid = (1..=256).contains(&text.len())
            && text.bytes().all(byte_ok)
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && text.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
            && !text.split('/').any(|part| part.is_empty() || part == "..");
        if valid {
            return Ok(Self::Oci(text.to_owned()));
        }
        Err(Error::invalid(format!("'{}' is not an image reference", printable(text)))
            .with_hint("write 'host' or a reference such as python:3.12-alpine"))
    }
}

impl TryFrom<String> for ImageRef {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Oci(reference) => f.write_str(reference),
        }
    }
}
