//! The login keychain of macOS: generic passwords of the service `agentkernel`. Compiled by CI, run by nobody yet.

use agentkernel_model::{Error, Kind, Result, secret::Secret};
use security_framework::{
    base::Error as Fault,
    item::{ItemClass, ItemSearchOptions, Limit},
    passwords::{delete_generic_password, get_generic_password, set_generic_password},
};
use zeroize::Zeroizing;

const SERVICE: &str = "agentkernel";
/// errSecItemNotFound of `SecBase.h`.
const NOT_FOUND: i32 = -25300;
const MOST: i64 = 4096;

#[derive(Debug, Clone)]
pub(super) struct Service;

impl Service {
    pub(super) fn new(_: Option<String>) -> Self {
        Self
    }

    pub(super) fn ready(&self) -> Result<()> {
        self.accounts().map(drop)
    }

    pub(super) fn get(&self, account: &str) -> Result<Option<Secret>> {
        match get_generic_password(SERVICE, account) {
            Ok(value) => Secret::wiped(Zeroizing::new(value)).map(Some),
            Err(e) if e.code() == NOT_FOUND => Ok(None),
            Err(e) => Err(refused(e)),
        }
    }

    pub(super) fn put(&self, account: &str, _label: &str, value: &Secret) -> Result<()> {
        set_generic_password(SERVICE, account, value.reveal()).map_err(refused)
    }

    pub(super) fn delete(&self, account: &str) -> Result<bool> {
        match delete_generic_password(SERVICE, account) {
            Ok(()) => Ok(true),
            Err(e) if e.code() == NOT_FOUND => Ok(false),
            Err(e) => Err(refused(e)),
        }
    }

    pub(super) fn accounts(&self) -> Result<Vec<String>> {
        let mut search = ItemSearchOptions::new();
        search.class(ItemClass::generic_password()).service(SERVICE).load_attributes(true);
        match search.limit(Limit::Max(MOST)).search() {
            Ok(found) => Ok(found.iter().filter_map(|item| item.simplify_dict()?.remove("acct")).collect()),
            Err(e) if e.code() == NOT_FOUND => Ok(Vec::new()),
            Err(e) => Err(refused(e)),
        }
    }
}

fn refused(fault: Fault) -> Error {
    Error::new(Kind::Denied, "the keychain cannot be used")
        .with_source(fault)
        .with_hint("unlock it in Keychain Access, or use --vault file")
}
