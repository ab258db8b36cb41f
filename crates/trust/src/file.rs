//! The vault that is a file: `vault` in a directory of its own, encrypted as a whole.
//!
//! ```text
//! vault       see envelope.rs
//! vault.key   the key, where neither keychain nor passphrase protects it
//! vault.lock  held by whoever changes the vault
//! vault.new   half written, by somebody who was killed
//! ```

mod cipher;
mod disk;
mod envelope;
mod key;
mod sealed;

pub use key::{Ask, Asking, Protection};

use crate::{
    Change, Entry, Keychain, Meta, Put, Vault, VaultKind,
    document::{self, Entries},
};
use agentkernel_model::{Error, Kind, Result, secret::SecretName};
use cipher::{KEY, Key};
use disk::Directory;
use envelope::{Envelope, Fault, Header, MAX_LEN};
use key::Holders;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

const FILE: &str = "vault";

/// A vault in a directory, which is made with the first secret.
#[derive(Debug)]
pub struct FileVault {
    directory: PathBuf,
    keychain: Box<dyn Keychain>,
    ask: Box<dyn Ask>,
    wanted: Option<Protection>,
    /// The key that was found last, so that nobody is asked twice.
    known: Mutex<Option<Known>>,
}

struct Known {
    header: Header,
    key: Key,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A vault that could be read.
struct Opened {
    header: Header,
    key: Key,
    entries: Entries,
}

impl FileVault {
    /// The vault in `directory`. `wanted` is what has to protect its key; `None`: what does, and for a new one the
    /// keychain where one is ready, else a key file.
    #[must_use]
    pub fn new(
        directory: PathBuf,
        keychain: Box<dyn Keychain>,
        ask: Box<dyn Ask>,
        wanted: Option<Protection>,
    ) -> Self {
        Self { directory, keychain, ask, wanted, known: Mutex::default() }
    }

    /// What protects it; `None` while there is none.
    ///
    /// # Errors
    /// As [`Vault::list`].
    pub fn protection(&self) -> Result<Option<Protection>> {
        let Some(directory) = Directory::open(&self.directory)? else { return Ok(None) };
        let Some(bytes) = directory.read(FILE, MAX_LEN)? else { return Ok(None) };
        let envelope = Envelope::parse(&bytes).map_err(|fault| refused(&directory, fault))?;
        Ok(Some(envelope.header.protector().into()))
    }

    fn read(&self) -> Result<Option<Opened>> {
        match Directory::open(&self.directory)? {
            Some(directory) => self.read_in(&directory),
            None => Ok(None),
        }
    }

    fn read_in(&self, directory: &Directory) -> Result<Option<Opened>> {
        let Some(bytes) = directory.read(FILE, MAX_LEN)? else { return Ok(None) };
        let envelope = Envelope::parse(&bytes).map_err(|fault| refused(directory, fault))?;
        self.check(envelope.header.protector().into())?;
        let key = self.key(directory, &envelope.header)?;
        let plain = envelope.open(&key).map_err(|fault| refused(directory, fault))?;
        let entries =
            document::decode(&plain).map_err(|e| refused(directory, Fault::Damaged).with_source(e))?;
        Ok(Some(Opened { header: envelope.header, key, entries }))
    }

    fn check(&self, found: Protection) -> Result<()> {
        match self.wanted {
            Some(wanted) if wanted != found => Err(Error::new(
                Kind::Conflict,
                format!("the vault is protected by its {found} already, and not by a {wanted}"),
            )
            .with_hint("leave --key out; what protects a vault is chosen with its first secret")),
            _ => Ok(()),
        }
    }

    fn key(&self, directory: &Directory, header: &Header) -> Result<Key> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.header == *header) {
            return Ok(known.key.clone());
        }
        let outer = self.holders(directory).find(header.protector(), header.id())?;
        let key = header.unwrap(&outer).ok_or_else(|| match header.protector().into() {
            Protection::Passphrase => Error::new(Kind::Denied, "the passphrase does not fit the vault")
                .with_hint("try again; nobody can read the vault without it"),
            protection => {
                Error::new(Kind::Denied, format!("the {protection} does not fit '{}'", directory.shown(FILE)))
                    .with_hint("vault and key are of different times: bring both back from one backup")
            }
        })?;
        *known = Some(Known { header: header.clone(), key: key.clone() });
        Ok(key)
    }

    fn holders<'a>(&'a self, directory: &'a Directory) -> Holders<'a> {
        Holders { directory, keychain: &*self.keychain, ask: &*self.ask }
    }

    /// A new, empty vault, which is not on the disk yet; its key is safe.
    fn create(&self, directory: &Directory) -> Result<Opened> {
        let protection = match self.wanted {
            Some(wanted) => wanted,
            // Not a weaker vault than was asked for: nobody asked. Which one it is, `protection` tells. A keychain that is
            // there and locked is no reason for a weaker one.
            None => match self.keychain.ready() {
                Ok(()) => Protection::Keychain,
                Err(e) if e.kind() == Kind::Unavailable => Protection::KeyFile,
                Err(e) => {
                    return Err(e.with_hint("unlock the keychain, or add --key keyfile or --key passphrase"));
                }
            },
        };
        let id = Header::fresh_id()?;
        let (protector, outer) = self.holders(directory).make(protection, &id)?;
        let key = cipher::random::<KEY>()?;
        let header = Header::new(id, protector, &key, &outer)?;
        Ok(Opened { header, key, entries: Entries::new() })
    }

    fn write(directory: &Directory, opened: &Opened) -> Result<()> {
        let plain = document::encode(&opened.entries)?;
        directory.replace(FILE, &envelope::seal(&opened.header, &opened.key, &plain)?)
    }
}

/// What is wrong with a file that is left as it is.
fn refused(directory: &Directory, fault: Fault) -> Error {
    let path = directory.shown(FILE);
    match fault {
        Fault::Foreign => Error::internal(format!("'{path}' is no vault of agentkernel"))
            .with_hint(format!("look at what '{path}' is, and move it away")),
        Fault::Newer(version) => Error::new(
            Kind::Unsupported,
            format!("'{path}' was written by a newer agentkernel, in format {version}"),
        )
        .with_hint("use that version"),
        Fault::Damaged => Error::internal(format!("'{path}' is damaged, and was left as it is"))
            .with_hint("bring it back from a backup, or move it away and set the secrets anew"),
    }
}

impl Vault for FileVault {
    fn kind(&self) -> VaultKind {
        VaultKind::File
    }

    fn list(&self) -> Result<Vec<Meta>> {
        let opened = self.read()?;
        Ok(opened.map(|o| o.entries.values().map(|entry| entry.meta().clone()).collect()).unwrap_or_default())
    }

    fn get(&self, name: &SecretName) -> Result<Option<Entry>> {
        Ok(self.read()?.and_then(|mut opened| opened.entries.remove(name)))
    }

    fn put(&self, change: Change) -> Result<Put> {
        let directory = Directory::make(&self.directory)?;
        let _lock = directory.lock()?;
        let mut opened = match self.read_in(&directory)? {
            Some(opened) => opened,
            None => self.create(&directory)?,
        };
        let old = opened.entries.get(&change.name);
        let entry = change.over(old.map(Entry::meta))?;
        let put = Put { meta: entry.meta().clone(), replaced: old.is_some() };
        opened.entries.insert(entry.meta().name().clone(), entry);
        Self::write(&directory, &opened)?;
        Ok(put)
    }

    fn delete(&self, name: &SecretName) -> Result<bool> {
        let Some(directory) = Directory::open(&self.directory)? else { return Ok(false) };
        let _lock = directory.lock()?;
        let Some(mut opened) = self.read_in(&directory)? else { return Ok(false) };
        if opened.entries.remove(name).is_none() {
            return Ok(false);
        }
        Self::write(&directory, &opened)?;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
