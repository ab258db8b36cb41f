//! One word from whoever fails first to all who work with it.

use agentkernel_model::{Error, Kind};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Halt(watch::Sender<bool>);

impl Halt {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn call(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_called(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is called.
    pub(crate) async fn called(&self) {
        let mut word = self.0.subscribe();
        // The sender lives as long as `self`.
        drop(word.wait_for(|called| *called).await);
    }

    /// What those say who stopped for it.
    pub(crate) fn error() -> Error {
        Error::new(Kind::Cancelled, "stopped because another layer failed")
    }
}
