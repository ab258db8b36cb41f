//! One "the command has ended", seen by tasks and by threads that wait in poll(2).

use agentkernel_model::{Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};
use tokio::sync::watch;

/// Dropping it is the event.
#[derive(Debug)]
pub(super) struct Trigger {
    _pipe: OwnedFd,
    _sender: watch::Sender<()>,
}

#[derive(Debug, Clone)]
pub(super) struct Stop {
    pipe: Arc<OwnedFd>,
    receiver: watch::Receiver<()>,
}

/// # Errors
/// When the process is out of descriptors.
pub(super) fn pair() -> Result<(Trigger, Stop)> {
    let (read, write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::io("cannot make a pipe", e.into()))?;
    let (sender, receiver) = watch::channel(());
    Ok((Trigger { _pipe: write, _sender: sender }, Stop { pipe: Arc::new(read), receiver }))
}

impl Stop {
    /// Resolves when the event has happened. Cancel safe.
    pub(super) async fn happened(&mut self) {
        // Nothing is ever sent: the only change is the sender's end.
        while self.receiver.changed().await.is_ok() {}
    }

    /// Hangs up when the event has happened.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
