//! The daemon: keeps sandboxes warm, so that a run on a slow backend begins at once.
//!
//! A warm sandbox has been started and has run nothing. It is lent to one run, by a key that is equal only for runs that
//! would have made the very same one, and it ends with that run. The daemon never touches what runs in it: a run finds it
//! by its id and state as any process does, and its connection to the daemon is the lease. Whatever goes wrong on the way,
//! a run takes the ordinary road, and says nothing.
//!
//! The daemon is the keeper of its sandboxes: they end with it, and gc finds what they leave.

mod borrow;
mod client;
mod demand;
mod door;
mod key;
mod pool;
mod protocol;
mod recipe;
mod serve;
mod shelf;
mod size;
mod socket;
mod warm;

pub use client::Started;
pub use protocol::{DaemonStatus, KindStatus, Order, Phase};
pub use recipe::Wish;
pub use serve::Served;
pub use size::PoolSize;

pub(crate) use borrow::{Beginning, run};

use crate::{engine::Engine, select};
use agentkernel_backend::Pooling;
use agentkernel_model::{Result, spec::SandboxSpec};
use std::path::PathBuf;

impl Engine {
    /// What keeps sandboxes of `spec` warm. Starts nothing.
    ///
    /// # Errors
    /// As [`Engine::choose`]; [`Kind::Unsupported`](agentkernel_model::Kind::Unsupported) where nothing can be, or is
    /// worth being, kept warm.
    pub async fn wish(&self, spec: &SandboxSpec, backend: Option<&str>) -> Result<Wish> {
        let selected = select::select(self, spec, backend).await?;
        Wish::of(self, selected.backend.as_ref(), spec)
    }

    /// Whether a backend of this build gains anything from a daemon.
    #[must_use]
    pub fn gains_from_daemon(&self) -> bool {
        let gains = |driver| self.backend(driver).is_ok_and(|backend| backend.pool() == Pooling::Worthwhile);
        self.registry.iter().any(gains)
    }

    /// Starts the daemon of this data directory in a process of its own, and waits until what is named is warm.
    ///
    /// # Errors
    /// Why it could not start, or something that was named did not come up: then there is none.
    pub async fn start_daemon(&self, order: &Order) -> Result<Started> {
        client::start(&self.host, order).await
    }

    /// Is the daemon, in this process, until it is stopped or told to end by a signal. `ready` is called when it listens
    /// and what is named is warm.
    ///
    /// # Errors
    /// As [`Engine::start_daemon`]; when it could not end in order.
    pub async fn be_daemon(&self, order: Order, ready: impl FnOnce()) -> Result<Served> {
        serve::serve(self, order, ready).await
    }

    /// The process that [`Engine::start_daemon`] starts: what the hidden verb `daemon serve` runs. Takes over stdin and
    /// stdout of the process and leaves its session: call it first thing, and only there.
    ///
    /// # Errors
    /// As [`Engine::be_daemon`].
    pub async fn serve_daemon(&self) -> Result<()> {
        serve::serve_apart(self).await
    }

    /// What the daemon does; `None` when there is none.
    ///
    /// # Errors
    /// [`Kind::Conflict`](agentkernel_model::Kind::Conflict) when it does not listen or is of another version, `Timeout`
    /// when it does not answer.
    pub async fn daemon_status(&self) -> Result<Option<DaemonStatus>> {
        client::status(&self.host).await
    }

    /// Ends the daemon: what is warm at once, what runs when its commands have ended. Returns when nothing is left, and
    /// whether there was one. `waiting` is told how many commands are waited for.
    ///
    /// # Errors
    /// As [`Engine::daemon_status`], and when something could not be removed.
    pub async fn stop_daemon(&self, waiting: impl Fn(usize)) -> Result<bool> {
        client::stop(&self.host, waiting).await
    }

    /// Where the daemon listens, or would.
    #[must_use]
    pub fn daemon_socket(&self) -> PathBuf {
        socket::path(&self.host)
    }
}
