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
    Oci(Reference),
}

/// An OCI image reference, by the grammar of the distribution project (distribution/reference): an optional registry,
/// a repository, and a tag or a digest or both. What is left out is filled in as Docker does: `docker.io`, `library/`
/// and `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The digest of content: `sha256:` and 64 lower-case hexadecimal digits. The only algorithm that registries use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where the default registry keeps repositories without a user.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Bytes of a whole reference.
const MAX_LEN: usize = 256;

impl Reference {
    /// The host of the registry, with its port where it has one; `docker.io` where none was written.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in full, such as `library/python`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `latest` where neither tag nor digest was written; `None` where only a digest was.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Pins the content of the manifest, whatever the tag says.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// As people write it: without the default registry and `library/`, such as `python`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        let official = self.repository.strip_prefix(OFFICIAL).filter(|rest| !rest.contains('/'));
        if let Some(name) = official {
            return name.to_owned();
        }
        match self.repository.split_once('/') {
            Some((first, _)) if is_host(first) => format!("{DEFAULT_REGISTRY}/{}", self.repository),
            _ => self.repository.clone(),
        }
    }

    /// The same repository with another tag or digest in their place.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::invalid(format!("'{}' is not an image reference", printable(text)))
                .with_hint("write 'host' or a reference such as python:3.12-alpine")
        })
    }
}

fn parse(text: &str) -> Option<Reference> {
    if text.is_empty() || text.len() > MAX_LEN {
        return None;
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse().ok()?)),
        None => (text, None),
    };
    // A colon after the last slash starts a tag; one before it belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if !tag.is_none_or(is_tag) {
        return None;
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (first, path),
        _ => (DEFAULT_REGISTRY, name),
    };
    if !is_registry(registry) || !path.split('/').all(is_component) {
        return None;
    }
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    let tag = match (tag, &digest) {
        (None, None) => Some(DEFAULT_TAG),
        (tag, _) => tag,
    };
    let reference =
        Reference { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest };
    // With what was filled in it has to read back.
    (reference.to_string().len() <= MAX_LEN).then_some(reference)
}

/// Whether the first part of a name is read as a registry.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

/// A host name or IPv4 address, with a port or without.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let label = |l: &str| {
        l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    host.split('.').all(label)
        && port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok())
}

/// Lower-case words, joined by one dot, one or two underscores, or any number of hyphens.
fn is_component(text: &str) -> bool {
    let mut rest = text;
    loop {
        let word = rest.bytes().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        if rest.is_empty() {
            return true;
        }
        let hyphens = rest.bytes().take_while(|b| *b == b'-').count();
        rest = match (hyphens, rest) {
            (1.., _) => &rest[hyphens..],
            (0, _) => match rest.strip_prefix("__").or_else(|| rest.strip_prefix(['.', '_'])) {
                Some(rest) => rest,
                None => return false,
            },
        };
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar_name())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl Digest {
    /// The 64 hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest of a finished SHA-256.
    #[must_use]
    pub fn of_sha256(hash: &[u8; 32]) -> Self {
        use fmt::Write as _;
        hash.iter().fold(Self("sha256:".to_owned()), |mut digest, byte| {
            let _ = write!(digest.0, "{byte:02x}");
            digest
        })
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::invalid(format!("'{}' is not a digest", printable(text)))
            .with_hint("a digest is 'sha256:' and 64 hexadecimal digits"))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "host" { Ok(Self::Host) } else { text.parse().map(Self::Oci) }
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
            Self::Oci(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
