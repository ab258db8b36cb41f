//! `--secret`: which secret goes to which host, in which header.
//!
//! | form | meaning |
//! |---|---|
//! | `KEY` | of a vault, to the hosts that the vault has for it |
//! | `KEY:host` | of a vault, to this host |
//! | `KEY:host:Header` | the same, alone in this header |
//! | `KEY=value:host` | this value; the last colon ends it, so that a header cannot be named |

use super::{HeaderName, HostPattern, Secret, SecretGrant, SecretName};
use crate::{Error, Result};
use std::str::FromStr;
use zeroize::Zeroizing;

/// Where the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In one of the vaults.
    Vault,
    Inline(Secret),
}

/// One secret and where it goes. `Debug` shows no value, and no error repeats what was written but a valid name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretBinding {
    name: SecretName,
    origin: Origin,
    host: Option<HostPattern>,
    header: Option<HeaderName>,
}

/// The longest of everything but the value, with room for a name, a host and a header.
const MAX_REST: usize = 512;

const FORMS: &str =
    "write KEY:host, KEY:host:Header or KEY=value:host, such as OPENAI_API_KEY:api.openai.com";

impl SecretBinding {
    #[must_use]
    pub const fn name(&self) -> &SecretName {
        &self.name
    }

    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `None`: the hosts that the vault has for it.
    #[must_use]
    pub const fn host(&self) -> Option<&HostPattern> {
        self.host.as_ref()
    }

    /// `None`: what the vault says, or [`super::header_for`].
    #[must_use]
    pub const fn header(&self) -> Option<&HeaderName> {
        self.header.as_ref()
    }
}

impl SecretBinding {
    /// This value, to this host, in the header that its service wants.
    #[must_use]
    pub const fn inline(name: SecretName, host: HostPattern, value: Secret) -> Self {
        Self { name, origin: Origin::Inline(value), host: Some(host), header: None }
    }

    /// The same in `header`, unless it names one itself.
    #[must_use]
    pub fn or_header(self, header: Option<&HeaderName>) -> Self {
        Self { header: self.header.or_else(|| header.cloned()), ..self }
    }
}

/// To be looked up in the vaults.
impl From<&SecretGrant> for SecretBinding {
    fn from(grant: &SecretGrant) -> Self {
        let SecretGrant { name, held: _, host, header } = grant.clone();
        Self { name, origin: Origin::Vault, host, header }
    }
}

impl FromStr for SecretBinding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let end = text.find([':', '=']).unwrap_or(text.len());
        let name: SecretName = text[..end].parse().map_err(|e: Error| match e.hint() {
            // Of a value in the wrong place that says more than the forms do.
            Some(hint) if e.message().starts_with("a value") => {
                let hint = hint.to_owned();
                e.with_hint(hint)
            }
            _ => Error::invalid("a secret's binding begins with the name of the secret").with_hint(FORMS),
        })?;
        let rest = &text[end..];
        if let Some(rest) = rest.strip_prefix('=') {
            return inline(name, rest);
        }
        if rest.len() > MAX_REST {
            return Err(
                Error::invalid(format!("the binding of secret '{name}' is too long")).with_hint(FORMS)
            );
        }
        let mut parts = rest.strip_prefix(':').into_iter().flat_map(|rest| rest.split(':'));
        let (host, header, more) = (parts.next(), parts.next(), parts.next());
        if more.is_some() {
            return Err(
                Error::invalid(format!("the binding of secret '{name}' has too many parts")).with_hint(FORMS)
            );
        }
        let host = host.map(|text| text.parse().map_err(|_| no_host(&name))).transpose()?;
        let header = header
            .map(|text| {
                text.parse().map_err(|e: Error| {
                    Error::invalid(format!("the header of secret '{name}' is none that can carry it"))
                        .with_source(e)
                })
            })
            .transpose()
            .map_err(|e| e.with_hint(FORMS))?;
        Ok(Self { name, origin: Origin::Vault, host, header })
    }
}

fn no_host(name: &SecretName) -> Error {
    Error::invalid(format!("no valid host is named for secret '{name}'")).with_hint(FORMS)
}

fn inline(name: SecretName, rest: &str) -> Result<SecretBinding> {
    let (value, host) = rest.rsplit_once(':').ok_or_else(|| no_host(&name))?;
    let host = host.parse().map_err(|_| no_host(&name))?;
    let value = Secret::wiped(Zeroizing::new(value.as_bytes().to_vec())).map_err(|e| {
        Error::invalid(format!("secret '{name}' cannot be bound")).with_source(e).with_hint(FORMS)
    })?;
    Ok(SecretBinding::inline(name, host, value))
}

#[cfg(test)]
#[path = "binding_tests.rs"]
mod tests;
