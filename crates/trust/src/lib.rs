//! Key material: the vaults that keep secrets, and which secret may go where.
//!
//! | vault | where | |
//! |---|---|---|
//! | [`FileVault`] | an encrypted file of the data directory | the usual one |
//! | [`KeychainVault`] | the keychain of the user's session | an item for each secret |
//! | [`EnvVault`] | variables that the caller hands over | read only |
//!
//! This crate reads no environment, prints nothing and knows no sandbox. No value is in any error or in any `Debug`.
#![forbid(unsafe_code)]

mod document;
mod entry;
mod environment;
mod file;
mod keychain;
mod resolve;
mod vault;

pub use entry::{Entry, Meta};
pub use environment::EnvVault;
pub use file::{Ask, Asking, FileVault, Protection};
pub use keychain::{Keychain, KeychainVault, OsKeychain};
pub use resolve::{Bound, find, require, resolve};
pub use vault::{Change, Put, Vault, VaultKind};
