//! Where the key is that protects the vault's own: a file beside it, the keychain, or somebody's memory.

use super::{
    cipher::{self, KEY, Key},
    disk::Directory,
    envelope::Protector,
};
use crate::Keychain;
use agentkernel_model::{Error, Kind, Result, secret::Secret, suggest};
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

/// What protects the key of a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// A file beside the vault that only its owner can read.
    KeyFile,
    /// The keychain of the user's session.
    Keychain,
    Passphrase,
}

impl Protection {
    pub const NAMES: [&'static str; 3] = ["keyfile", "keychain", "passphrase"];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyFile => "keyfile",
            Self::Keychain => "keychain",
            Self::Passphrase => "passphrase",
        }
    }
}

impl FromStr for Protection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "keyfile" => Ok(Self::KeyFile),
            "keychain" => Ok(Self::Keychain),
            "passphrase" => Ok(Self::Passphrase),
            // Not repeated: somebody may have taken it for the key itself.
            _ => {
                Err(Error::invalid("that cannot protect a vault")
                    .with_hint(suggest::hint(text, &Self::NAMES)))
            }
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For what a passphrase is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// For a vault that is made now.
    New,
    /// For one that is there.
    Existing,
}

/// Where a passphrase comes from.
pub trait Ask: fmt::Debug {
    /// # Errors
    /// When there is nobody to ask, or whoever was asked does not want to say.
    fn passphrase(&self, asking: Asking) -> Result<Secret>;
}

/// The key file, and how it begins.
pub(super) const KEY_FILE: &str = "vault.key";
const KEY_MAGIC: &[u8; 8] = b"AKVKEY\x00\x01";

/// RFC 9106, section 4, the second recommended choice: 64 MiB, three passes; one lane.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const SALT: usize = 16;
/// The most that a file can make this process spend.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_PASSES: u32 = 16;

impl From<&Protector> for Protection {
    fn from(protector: &Protector) -> Self {
        match protector {
            Protector::File => Self::KeyFile,
            Protector::Keychain => Self::Keychain,
            Protector::Passphrase { .. } => Self::Passphrase,
        }
    }
}

/// Everything that may hold a key.
pub(super) struct Holders<'a> {
    pub(super) directory: &'a Directory,
    pub(super) keychain: &'a dyn Keychain,
    pub(super) ask: &'a dyn Ask,
}

impl Holders<'_> {
    /// The key for a vault that is there.
    pub(super) fn find(&self, protector: &Protector, id: &str) -> Result<Key> {
        match protector {
            Protector::File => self.key_file()?.ok_or_else(|| {
                let path = self.directory.shown(KEY_FILE);
                Error::new(Kind::Conflict, format!("the key of the vault, '{path}', is missing"))
                    .with_hint("bring it back from a backup: without it nobody can read the vault")
            }),
            Protector::Keychain => {
                let found = self.keychain.get(&account(id))?;
                let found = found.as_ref().and_then(|found| <[u8; KEY]>::try_from(found.reveal()).ok());
                found.map(Zeroizing::new).ok_or_else(|| {
                    Error::new(Kind::Conflict, "the keychain has no key for this vault")
                        .with_hint("open the keychain in which it was made, or bring that back from a backup")
                })
            }
            Protector::Passphrase { salt, memory_kib, passes } => {
                let damaged = || Error::internal("the vault says nothing sensible about its passphrase");
                if *memory_kib > MOST_MEMORY_KIB || *passes > MOST_PASSES {
                    return Err(damaged());
                }
                let salt =
                    STANDARD.decode(salt).ok().filter(|salt| salt.len() == SALT).ok_or_else(damaged)?;
                derive(&self.ask.passphrase(Asking::Existing)?, &salt, *memory_kib, *passes)
            }
        }
    }

    /// A key for a vault that is about to be made. It is safe on the disk, or in the keychain, when this returns: never is
    /// there a vault without its key.
    pub(super) fn make(&self, protection: Protection, id: &str) -> Result<(Protector, Key)> {
        Ok(match protection {
            Protection::KeyFile => {
                // One that is there was made by somebody who was killed before there was a vault.
                let key = match self.key_file()? {
                    Some(key) => key,
                    None => self.make_key_file()?,
                };
                (Protector::File, key)
            }
            Protection::Keychain => {
                let key = cipher::random::<KEY>()?;
                let value = Secret::wiped(Zeroizing::new(key.to_vec()))?;
                self.keychain.put(&account(id), "agentkernel: key of the secret vault", &value)?;
                (Protector::Keychain, key)
            }
            Protection::Passphrase => {
                let salt = cipher::random::<SALT>()?;
                let key = derive(&self.ask.passphrase(Asking::New)?, &*salt, MEMORY_KIB, PASSES)?;
                let salt = STANDARD.encode(*salt);
                (Protector::Passphrase { salt, memory_kib: MEMORY_KIB, passes: PASSES }, key)
            }
        })
    }

    fn key_file(&self) -> Result<Option<Key>> {
        let Some(bytes) = self.directory.read(KEY_FILE, KEY_MAGIC.len() + KEY)? else { return Ok(None) };
        let key = bytes.strip_prefix(KEY_MAGIC).and_then(|key| <[u8; KEY]>::try_from(key).ok());
        key.map(|key| Some(Zeroizing::new(key))).ok_or_else(|| {
            Error::internal(format!("'{}' is damaged", self.directory.shown(KEY_FILE)))
                .with_hint("bring it back from a backup: without it nobody can read the vault")
        })
    }

    fn make_key_file(&self) -> Result<Key> {
        let key = cipher::random::<KEY>()?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_MAGIC.len() + KEY));
        bytes.extend_from_slice(KEY_MAGIC);
        bytes.extend_from_slice(&*key);
        self.directory.replace(KEY_FILE, &bytes)?;
        Ok(key)
    }
}

/// No secret can have an account of this name.
fn account(id: &str) -> String {
    format!("vault-key/{id}")
}

fn derive(passphrase: &Secret, salt: &[u8], memory_kib: u32, passes: u32) -> Result<Key> {
    let fail = |e: argon2::Error| Error::internal(format!("cannot make a key of the passphrase: {e}"));
    let params = Params::new(memory_kib, passes, 1, Some(KEY)).map_err(fail)?;
    let mut key = Key::new([0; KEY]);
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.reveal(), salt, &mut *key).map_err(fail)?;
    Ok(key)
}
