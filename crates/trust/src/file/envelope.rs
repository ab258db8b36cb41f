//! The bytes of a vault's file.
//!
//! ```text
//! "AKVAULT" VERSION   8 bytes
//! LENGTH              4 bytes, big endian: of the header
//! HEADER              JSON: the vault's id, what protects its key, the key encrypted with that
//! SEALED              nonce, the entries encrypted with the vault's key, tag; authenticates all that stands before it
//! ```
//!
//! Names and hosts are encrypted with the values: which services somebody uses is nobody's business, and one message for
//! all cannot be put together from parts of two.

use super::cipher::{self, KEY, Key, OVERHEAD};
use crate::document::MAX_LEN as MAX_PLAIN;
use agentkernel_model::{Error, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 7] = b"AKVAULT";
const VERSION: u8 = 1;
const PREFIX: usize = MAGIC.len() + 1 + 4;
const MAX_HEADER: usize = 4096;
/// The longest file.
pub(super) const MAX_LEN: usize = PREFIX + MAX_HEADER + OVERHEAD + MAX_PLAIN;

/// Why a file cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not begin as vaults do.
    Foreign,
    Newer(u8),
    /// Cut off, or changed.
    Damaged,
}

/// What protects the key of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Protector {
    /// A key in a file beside it.
    File,
    /// A key in the keychain.
    Keychain,
    /// A passphrase through Argon2id.
    Passphrase { salt: String, memory_kib: u32, passes: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    id: String,
    key: Protector,
    wrapped: String,
}

impl Header {
    /// A header for a new vault with this id, whose key `key` is protected by `outer`.
    pub(super) fn new(id: String, protector: Protector, key: &Key, outer: &Key) -> Result<Self> {
        let wrapped = STANDARD.encode(cipher::seal(outer, &wrapping(&id), &**key)?);
        Ok(Self { id, key: protector, wrapped })
    }

    /// A name for a vault that no other has.
    pub(super) fn fresh_id() -> Result<String> {
        Ok(format!("{:032x}", u128::from_be_bytes(*cipher::random::<16>()?)))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn protector(&self) -> &Protector {
        &self.key
    }

    /// The key of the vault; `None` when `outer` is not what protects it.
    pub(super) fn unwrap(&self, outer: &Key) -> Option<Key> {
        let wrapped = STANDARD.decode(&self.wrapped).ok()?;
        let plain = cipher::open(outer, &wrapping(&self.id), &wrapped)?;
        let mut key = Key::new([0; KEY]);
        (plain.len() == KEY).then(|| key.copy_from_slice(&plain))?;
        Some(key)
    }
}

fn wrapping(id: &str) -> Vec<u8> {
    format!("agentkernel vault key 1 {id}").into_bytes()
}

/// A file in its parts; not yet believed.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) header: Header,
    context: &'a [u8],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Fault::Foreign)?;
        let (version, rest) = rest.split_first().ok_or(Fault::Damaged)?;
        if *version != VERSION {
            return Err(if *version > VERSION { Fault::Newer(*version) } else { Fault::Damaged });
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(Fault::Damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Fault::Damaged)?;
        if length > MAX_HEADER || length > rest.len() || rest.len() - length < OVERHEAD {
            return Err(Fault::Damaged);
        }
        let (header, sealed) = rest.split_at(length);
        let header: Header = serde_json::from_slice(header).map_err(|_| Fault::Damaged)?;
        // It names an item of the keychain.
        if header.id.len() != 32 || !header.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::Damaged);
        }
        Ok(Self { header, context: &bytes[..PREFIX + length], sealed })
    }

    /// The entries' bytes.
    pub(super) fn open(&self, key: &Key) -> Result<zeroize::Zeroizing<Vec<u8>>, Fault> {
        cipher::open(key, self.context, self.sealed).ok_or(Fault::Damaged)
    }
}

/// The file of a vault with this header and these entries.
pub(super) fn seal(header: &Header, key: &Key, plain: &[u8]) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(header)
        .map_err(|e| Error::internal("cannot encode the header of the vault").with_source(e))?;
    let length = u32::try_from(header.len()).ok().filter(|_| header.len() <= MAX_HEADER);
    let length = length.ok_or_else(|| Error::internal("the header of the vault is too long"))?;
    let mut bytes = Vec::with_capacity(PREFIX + header.len() + plain.len() + OVERHEAD);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&header);
    let sealed = cipher::seal(key, &bytes, plain)?;
    bytes.extend_from_slice(&sealed);
    Ok(bytes)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
