//! Which vaults there are for whoever calls, and how the file vault's passphrase is asked for.

use crate::{context::Context, env, hidden};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{Provider, Secret, SecretName},
};
use agentkernel_trust::{
    Ask, Asking, EnvVault, FileVault, Keychain, KeychainVault, OsKeychain, Protection, Vault, VaultKind,
};
use clap::Args;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// Flags that every verb of secrets has.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct VaultArgs {
    /// Which vault: file, keychain or env, which can only be read
    #[arg(long, value_name = "VAULT")]
    pub(crate) vault: Option<VaultKind>,

    /// A file, or /dev/fd/N, with the passphrase of the file vault, where it has one
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl VaultArgs {
    pub(crate) fn file(&self, context: &Context, wanted: Option<Protection>) -> FileVault {
        let directory = context.settings.host.data.join("secrets");
        let ask = Box::new(Person { file: self.passphrase_file.clone() });
        FileVault::new(directory, Box::new(keychain(context)), ask, wanted)
    }

    /// The named vault; `names` are the variables that it has to have, where it is the environment.
    pub(crate) fn one(&self, kind: VaultKind, context: &Context, names: &[SecretName]) -> Box<dyn Vault> {
        match kind {
            VaultKind::File => Box::new(self.file(context, None)),
            VaultKind::Keychain => Box::new(KeychainVault::new(Box::new(keychain(context)))),
            VaultKind::Env => Box::new(EnvVault::new(variables(names))),
        }
    }

    /// The named vault; without a name the file, and the keychain where one is ready. The environment has to be named.
    pub(crate) fn all(&self, context: &Context, names: &[SecretName]) -> Vec<Box<dyn Vault>> {
        if let Some(kind) = self.vault {
            return vec![self.one(kind, context, names)];
        }
        let mut all = vec![self.one(VaultKind::File, context, names)];
        match keychain(context).ready() {
            Ok(()) => all.push(self.one(VaultKind::Keychain, context, names)),
            // Most machines have none, which is nothing to speak of.
            Err(error) if error.kind() == Kind::Unavailable => {}
            Err(error) => context.printer.note(format_args!("the keychain was not asked: {error}")),
        }
        all
    }
}

/// What can be seen of vaults without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VaultSight {
    /// There is none.
    Nothing,
    /// It would take a passphrase.
    Closed,
    /// With these words `secret list` reads them.
    Open(Vec<OsString>),
}

impl VaultArgs {
    /// # Errors
    /// For a vault that cannot be read.
    pub(crate) fn sight(&self, context: &Context) -> Result<VaultSight> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(kind) = self.vault {
            words.extend(["--vault".into(), kind.as_str().into()]);
        }
        let protection = match self.vault {
            None | Some(VaultKind::File) => self.file(context, None).protection()?,
            Some(VaultKind::Keychain | VaultKind::Env) => None,
        };
        if protection == Some(Protection::Passphrase) {
            // What is no file on a disk can be read once only.
            match self.passphrase_file.as_ref().filter(|file| file.is_file()) {
                Some(file) => words.extend(["--passphrase-file".into(), file.clone().into()]),
                None => return Ok(VaultSight::Closed),
            }
        }
        if self.vault.is_none() && protection.is_none() && keychain(context).ready().is_err() {
            return Ok(VaultSight::Nothing);
        }
        Ok(VaultSight::Open(words))
    }
}

/// What a vault that was made now is worth.
pub(crate) fn tell(context: &Context, vault: &FileVault) -> Result<()> {
    if vault.protection()? == Some(Protection::KeyFile) {
        context.printer.note(
            "there is no keychain: the vault's key is in a file beside it, so whoever can read your files can read the \
             secrets; --key passphrase with the first secret avoids that",
        );
    }
    Ok(())
}

fn keychain(context: &Context) -> OsKeychain {
    OsKeychain::new(context.settings.session_bus.clone())
}

/// Those of `names` that are set to something.
fn variables(names: &[SecretName]) -> BTreeMap<SecretName, Secret> {
    let set = |name: &SecretName| Some((name.clone(), Secret::new(env::secret(name)?.into_vec()).ok()?));
    names.iter().filter_map(set).collect()
}

/// The variables that keys of well-known services are in: nobody knows which of the others are secrets.
pub(crate) fn usual_names() -> Vec<SecretName> {
    Provider::all().flat_map(Provider::keys).filter_map(|key| key.parse().ok()).collect()
}

/// The address of the session's bus: what the environment says, else the usual socket.
pub(crate) fn session_bus(named: Option<String>, runtime_dir: Option<&Path>) -> Option<String> {
    let usual = || {
        let socket = runtime_dir?.join("bus");
        // What an address holds without escapes (D-Bus specification, "Server Addresses").
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/.".contains(&b);
        let path = socket.to_str().filter(|path| path.bytes().all(plain))?;
        socket.exists().then(|| format!("unix:path={path}"))
    };
    named.filter(|address| !address.is_empty()).or_else(usual)
}

/// Who knows the passphrase: a file that was named, or whoever sits at the terminal. Never the environment, which children
/// and other processes see.
#[derive(Debug)]
struct Person {
    file: Option<PathBuf>,
}

impl Ask for Person {
    fn passphrase(&self, asking: Asking) -> Result<Secret> {
        if let Some(file) = &self.file {
            return hidden::in_file(file);
        }
        let hint = |e: Error| match e.kind() {
            Kind::Unavailable => e.with_hint("name a file that has it: --passphrase-file FILE"),
            _ => e,
        };
        match asking {
            Asking::Existing => hidden::ask("Passphrase of the vault").map_err(hint),
            Asking::New => {
                let first = hidden::ask("New passphrase of the vault").map_err(hint)?;
                if hidden::ask("Once more")? != first {
                    return Err(Error::invalid("the two passphrases are not the same").with_hint("try again"));
                }
                Ok(first)
            }
        }
    }
}

#[cfg(test)]
#[path = "vaults_tests.rs"]
mod tests;
