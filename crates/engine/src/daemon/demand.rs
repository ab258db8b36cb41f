//! What visitors want of the pool, and what they are lent.

use super::{
    key::Key,
    protocol::{DaemonStatus, Lent},
    recipe::Wish,
};
use agentkernel_model::id::SandboxId;
use tokio::sync::{mpsc, oneshot};

/// What visitors want.
#[derive(Debug)]
pub(super) enum Demand {
    Take(Key, oneshot::Sender<Option<Loan>>),
    Want(Box<Wish>),
    Status(oneshot::Sender<DaemonStatus>),
    /// Answered with how many commands are waited for.
    Stop(oneshot::Sender<usize>),
}

/// A sandbox that was lent. Dropping it gives it back, and it is ended.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) lent: Lent,
    _receipt: Receipt,
}

impl Loan {
    /// `returns` hears when it is given back.
    pub(super) const fn new(lent: Lent, returns: mpsc::UnboundedSender<SandboxId>) -> Self {
        let receipt = Receipt { id: lent.id, returns };
        Self { lent, _receipt: receipt }
    }
}

#[derive(Debug)]
struct Receipt {
    id: SandboxId,
    returns: mpsc::UnboundedSender<SandboxId>,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // The pool is not there any more: it has ended everything.
        let _nobody_there = self.returns.send(self.id);
    }
}
