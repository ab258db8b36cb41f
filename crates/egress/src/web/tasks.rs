//! Tasks that end with what they were started for.

use hyper::rt::Executor;
use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::task::JoinSet;

/// Owns tasks: those that run when it is dropped are aborted, as its set is.
#[derive(Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Starts tasks that their [`Tasks`] own. A task may hold one; when the owner is gone nothing is started.
#[derive(Clone)]
pub(super) struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }

    /// Until all have ended.
    pub(super) async fn join(&self) {
        // Nothing panics while it is held, and a set of tasks is whole at any moment.
        let next = || poll_fn(|cx| self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_join_next(cx));
        while next().await.is_some() {}
    }

    /// Ends those that run, and waits until they are gone with all that they held.
    pub(super) async fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.join().await;
    }
}

impl Spawner {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
