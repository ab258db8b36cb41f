//! How a template is asked for: a name, a path, or a file of a repository on GitHub.

use crate::{bound::shortened, workspace::host_path};
use agentkernel_model::{Error, Result, name::TemplateName, text::printable};
use std::{fmt, str::FromStr};

/// What somebody wrote after `--template`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Specifier {
    /// A saved or built-in template.
    Name(TemplateName),
    /// A file: it has a slash, or ends in `.toml`.
    Path(String),
    Github(Github),
}

/// `github:OWNER/REPO/PATH[@REF]`; each part has been checked to be one of a URL's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Github {
    owner: String,
    repository: String,
    path: String,
    /// A branch, a tag or a commit. `None`: the branch that the repository shows first.
    reference: Option<String>,
}

const PREFIX: &str = "github:";

impl FromStr for Specifier {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix(PREFIX) {
            return rest.parse().map(Self::Github);
        }
        if text.contains('/') || text.ends_with(".toml") {
            return Ok(Self::Path(host_path(text)?.to_owned()));
        }
        text.parse().map(Self::Name)
    }
}

impl fmt::Display for Specifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Path(path) => f.write_str(path),
            Self::Github(place) => place.fmt(f),
        }
    }
}

impl Github {
    /// Where the text is. A reference that was not written is `HEAD`.
    #[must_use]
    pub fn url(&self) -> String {
        let reference = self.reference.as_deref().unwrap_or("HEAD");
        let Self { owner, repository, path, .. } = self;
        format!("https://raw.githubusercontent.com/{owner}/{repository}/{reference}/{path}")
    }

    /// Whether a commit is named in full, so that the text cannot change.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        self.reference.as_ref().is_some_and(|reference| reference.len() == 40 && reference.bytes().all(hex))
    }
}

impl FromStr for Github {
    type Err = Error;

    /// Reads what stands after `github:`.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).ok_or_else(|| {
            Error::invalid(format!("'{PREFIX}{}' is not a file on GitHub", printable(&shortened(text))))
                .with_hint("write github:OWNER/REPO/PATH or github:OWNER/REPO/PATH@REF")
        })
    }
}

fn parse(text: &str) -> Option<Github> {
    let (place, reference) = match text.split_once('@') {
        Some((place, reference)) => (place, Some(reference)),
        None => (text, None),
    };
    let mut parts = place.splitn(3, '/');
    let (owner, repository, path) = (parts.next()?, parts.next()?, parts.next()?);
    let owner_ok = owner.len() <= 39
        && owner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !owner.is_empty()
        && !owner.starts_with('-')
        && !owner.ends_with('-');
    let repository_ok = repository.len() <= 100 && is_part(repository);
    let parts_ok = |text: &str| text.len() <= 512 && text.split('/').all(is_part);
    (owner_ok && repository_ok && parts_ok(path) && reference.is_none_or(parts_ok)).then(|| Github {
        owner: owner.to_owned(),
        repository: repository.to_owned(),
        path: path.to_owned(),
        reference: reference.map(str::to_owned),
    })
}

/// One part of a path, of characters that mean nothing in a URL.
fn is_part(text: &str) -> bool {
    !text.is_empty()
        && !text.bytes().all(|b| b == b'.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}/{}/{}", self.owner, self.repository, self.path)?;
        match &self.reference {
            Some(reference) => write!(f, "@{reference}"),
            None => Ok(()),
        }
    }
}
