//! The calls of tools that are under way, so that a server ends when they have.

use std::time::Duration;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TrackedFuture},
};
use tracing::Instrument as _;

/// How long calls may go on when a server is told to end. The connections that they came over have a moment more.
const PATIENCE: Duration = Duration::from_secs(25);

/// Shared by all clients of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    under_way: TaskTracker,
    ending: CancellationToken,
}

impl Calls {
    pub(super) fn track<F: Future>(&self, call: F) -> TrackedFuture<F> {
        self.under_way.track_future(call)
    }

    /// `work`, which goes on when its caller leaves: a sandbox is not to be left half made.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = agentkernel_model::Result<T>> + Send + 'static,
    ) -> agentkernel_model::Result<T> {
        self.under_way.spawn(work.in_current_span()).await.map_err(|e| {
            agentkernel_model::Error::internal("what was begun about a sandbox was cut off").with_source(e)
        })?
    }

    /// Cancelled when no session is to go on.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Waits until every call is answered, for a while, and ends the sessions then.
    pub(crate) async fn close(&self) {
        self.under_way.close();
        // Whoever takes longer is cut off: the process ends.
        let _ = tokio::time::timeout(PATIENCE, self.under_way.wait()).await;
        self.ending.cancel();
    }
}
