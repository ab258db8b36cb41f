//! The Secret Service of the session bus (freedesktop.org Secret Service API 0.2), spoken to through the crate
//! `secret-service`; values cross the bus encrypted.
//!
//! Each call has a thread, an event loop and a connection of its own, which are gone when it returns. So it can be made
//! with or without an event loop around it, and leaves no thread behind for a sandbox that is cloned from this process.

use agentkernel_model::{Error, Kind, Result, secret::Secret};
use secret_service::{Collection, EncryptionType, Error as Fault, Item, SecretService};
use std::{collections::HashMap, fmt, future::Future, time::Duration};
use zbus::connection::Builder;
use zeroize::Zeroizing;

/// How long the service may take for what it does by itself; starting it is part of that.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a person may take to unlock it.
const PATIENCE_OF_PEOPLE: Duration = Duration::from_secs(120);

const APPLICATION: (&str, &str) = ("application", "agentkernel");
const ACCOUNT: &str = "account";
/// Ours are few: as many as a vault may have, and the keys of vaults.
const MOST: usize = 4096;

#[derive(Clone)]
pub(super) struct Service {
    bus: Option<String>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretService").field("bus", &self.bus).finish()
    }
}

impl Service {
    pub(super) const fn new(bus: Option<String>) -> Self {
        Self { bus }
    }

    pub(super) fn ready(&self) -> Result<()> {
        self.ask(PATIENCE, async |service| {
            let collection = service.get_default_collection().await?;
            if collection.is_locked().await? { Err(Fault::Locked.into()) } else { Ok(()) }
        })
    }

    pub(super) fn get(&self, account: &str) -> Result<Option<Secret>> {
        self.ask(PATIENCE_OF_PEOPLE, async |service| {
            let Some(item) = find(&service, account).await? else { return Ok(None) };
            item.unlock_if_locked().await?;
            let value = Zeroizing::new(item.get_secret().await?);
            Ok(Some(Secret::wiped(value)?))
        })
    }

    pub(super) fn put(&self, account: &str, label: &str, value: &Secret) -> Result<()> {
        self.ask(PATIENCE_OF_PEOPLE, async |service| {
            let collection = service.get_default_collection().await?;
            collection.unlock_if_locked().await?;
            let attributes = HashMap::from([APPLICATION, (ACCOUNT, account)]);
            collection
                .create_item(label, attributes, value.reveal(), true, "application/octet-stream")
                .await?;
            Ok(())
        })
    }

    pub(super) fn delete(&self, account: &str) -> Result<bool> {
        self.ask(PATIENCE_OF_PEOPLE, async |service| {
            let Some(item) = find(&service, account).await? else { return Ok(false) };
            item.unlock_if_locked().await?;
            item.delete().await?;
            Ok(true)
        })
    }

    pub(super) fn accounts(&self) -> Result<Vec<String>> {
        self.ask(PATIENCE, async |service| {
            let found = service.search_items(HashMap::from([APPLICATION])).await?;
            let mut accounts = Vec::new();
            for item in found.unlocked.iter().chain(&found.locked).take(MOST) {
                accounts.extend(item.get_attributes().await?.remove(ACCOUNT));
            }
            Ok(accounts)
        })
    }

    fn ask<T: Send>(
        &self,
        patience: Duration,
        question: impl AsyncFnOnce(SecretService<'static>) -> Result<T, Trouble> + Send,
    ) -> Result<T> {
        let bus = self.bus.as_deref().ok_or_else(|| {
            Error::new(Kind::Unavailable, "there is no keychain: this session has no message bus")
                .with_hint("use --vault file, or log in to a desktop session")
        })?;
        let talk = async move || -> Result<T, Trouble> { question(connect(bus).await?).await };
        alone(patience, talk).and_then(|answer| answer.map_err(Error::from))
    }
}

/// Runs `work` on a thread with an event loop of its own.
fn alone<T: Send, F: Future<Output = T>>(patience: Duration, work: impl FnOnce() -> F + Send) -> Result<T> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("cannot start an event loop for the keychain", e))?;
        let answer = runtime.block_on(async { tokio::time::timeout(patience, work()).await });
        answer.map_err(|_| {
            Error::new(Kind::Timeout, format!("the keychain gave no answer within {} s", patience.as_secs()))
                .with_hint("unlock it in your desktop session, or use --vault file")
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .map_err(|_| Error::internal("the conversation with the keychain broke off"))?
}

async fn connect(bus: &str) -> Result<SecretService<'static>, Trouble> {
    // Several addresses are one after the other to be tried; only sockets, and never a program to be started.
    let addresses = bus.split(';').filter(|address| address.starts_with("unix:"));
    let mut last = Fault::Unavailable;
    for address in addresses {
        let built = match Builder::address(address) {
            Ok(builder) => builder.build().await,
            Err(e) => Err(e),
        };
        match built {
            Ok(connection) => {
                // A bus of somebody else's would be told the secrets: a stale address can lead to one.
                let peer = connection.peer_creds().await.ok().and_then(|peer| peer.unix_user_id());
                if peer != Some(rustix::process::geteuid().as_raw()) {
                    last = Fault::Unavailable;
                    continue;
                }
                return Ok(SecretService::connect_with_existing(EncryptionType::Dh, connection).await?);
            }
            Err(e) => last = e.into(),
        }
    }
    Err(Trouble::NoBus(last))
}

async fn find<'a>(service: &'a SecretService<'static>, account: &str) -> Result<Option<Item<'a>>, Trouble> {
    let found = service.search_items(HashMap::from([APPLICATION, (ACCOUNT, account)])).await?;
    Ok(found.unlocked.into_iter().chain(found.locked).next())
}

/// The crate asks its user to unlock whatever it is told to, locked or not.
trait UnlockIfLocked {
    async fn unlock_if_locked(&self) -> Result<(), Fault>;
}

impl UnlockIfLocked for Item<'_> {
    async fn unlock_if_locked(&self) -> Result<(), Fault> {
        if self.is_locked().await? { self.unlock().await } else { Ok(()) }
    }
}

impl UnlockIfLocked for Collection<'_> {
    async fn unlock_if_locked(&self) -> Result<(), Fault> {
        if self.is_locked().await? { self.unlock().await } else { Ok(()) }
    }
}

enum Trouble {
    Fault(Fault),
    NoBus(Fault),
    Ours(Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let (message, fault) = match trouble {
            Trouble::Ours(error) => return error,
            Trouble::NoBus(fault) => ("the message bus of the keychain cannot be reached", fault),
            Trouble::Fault(Fault::Locked | Fault::Prompt | Fault::PromptDisconnected) => {
                return Self::new(Kind::Denied, "the keychain is locked, and was not unlocked")
                    .with_hint("unlock it in your desktop session, or use --vault file");
            }
            Trouble::Fault(Fault::NoResult) => ("the keychain has no default collection", Fault::NoResult),
            Trouble::Fault(fault) => ("the keychain cannot be used", fault),
        };
        Self::new(Kind::Unavailable, message)
            .with_source(fault)
            .with_hint("start GNOME Keyring, KWallet or KeePassXC in your session, or use --vault file")
    }
}
