//! Who runs commands in this process now: some leftovers can be told from live things only while nobody does.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

static RUNNING: Mutex<usize> = Mutex::new(0);
static QUIET: Condvar = Condvar::new();

/// Longer than any single command of a test takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command of a test that runs.
#[derive(Debug)]
pub(super) struct Activity(());

impl Activity {
    /// Waits only while somebody looks, never for somebody who waits to look: a test may hold several.
    pub(super) fn begin() -> Self {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        QUIET.notify_all();
    }
}

/// What `look` sees while no command of any test of this process runs.
///
/// # Panics
/// When that does not come to be, as when the calling test itself has a command running.
pub(super) fn while_quiet<T>(look: impl FnOnce() -> T) -> T {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let (guard, waited) =
        QUIET.wait_timeout_while(running, PATIENCE, |n| *n > 0).unwrap_or_else(PoisonError::into_inner);
    assert!(!waited.timed_out(), "commands of tests still run after {} s", PATIENCE.as_secs());
    let seen = look();
    drop(guard);
    seen
}
