//! Entries that are no entries of the vault: encrypted with its key for somebody else to keep, such as the directory of a
//! sandbox, with which they go. No list shows them.

use super::{FileVault, cipher, disk::Directory, envelope::Header};
use crate::{Entry, document};
use agentkernel_model::{Error, Kind, Result};

impl FileVault {
    /// `entries` as bytes that only this vault opens, and only for `scope`. Makes the vault when there is none.
    ///
    /// # Errors
    /// As [`crate::Vault::put`].
    pub fn seal(&self, scope: &str, entries: &[Entry]) -> Result<Vec<u8>> {
        let directory = Directory::make(&self.directory)?;
        let _lock = directory.lock()?;
        let opened = match self.read_in(&directory)? {
            Some(opened) => opened,
            None => {
                let opened = self.create(&directory)?;
                Self::write(&directory, &opened)?;
                opened
            }
        };
        let plain = document::encode_list(entries)?;
        cipher::seal(&opened.key, &context(&opened.header, scope), &plain)
    }

    /// What [`FileVault::seal`] made.
    ///
    /// # Errors
    /// [`Kind::Denied`] for what this vault did not seal for `scope`; as [`crate::Vault::list`].
    pub fn unseal(&self, scope: &str, sealed: &[u8]) -> Result<Vec<Entry>> {
        let strange = || {
            Error::new(
                Kind::Denied,
                "the vault is another one than when these secrets were kept, or they are damaged",
            )
            .with_hint("give their values again")
        };
        let opened = self.read()?.ok_or_else(strange)?;
        let plain = cipher::open(&opened.key, &context(&opened.header, scope), sealed).ok_or_else(strange)?;
        document::decode_list(&plain).map_err(|e| strange().with_source(e))
    }
}

fn context(header: &Header, scope: &str) -> Vec<u8> {
    format!("agentkernel sealed secrets 1 {} {scope}", header.id()).into_bytes()
}
