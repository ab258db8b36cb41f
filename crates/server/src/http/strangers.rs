//! Connections of which nobody knows yet whose they are. There are so many at most: when one more comes, the oldest has to
//! go. Whoever has a key says so at once, and is no stranger from then on; so a crowd of strangers keeps nobody out.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// All strangers of a server.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    oldest_first: Mutex<VecDeque<Arc<Stranger>>>,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    is_known: AtomicBool,
    out: Notify,
}

impl Strangers {
    pub(super) fn new(most: usize) -> Self {
        Self { most, oldest_first: Mutex::default() }
    }

    /// A new one, and somebody else's end where there are too many.
    pub(super) fn came(self: &Arc<Self>) -> Guest {
        let stranger = Arc::new(Stranger::default());
        let mut all = self.oldest_first.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !other.is_known.load(Ordering::Acquire));
        if all.len() >= self.most
            && let Some(oldest) = all.pop_front()
        {
            // Kept for one that does not wait for it at this moment.
            oldest.out.notify_one();
        }
        all.push_back(Arc::clone(&stranger));
        drop(all);
        Guest { stranger, all: Arc::clone(self) }
    }
}

/// A connection's place among the strangers, as long as that is open.
#[derive(Debug)]
pub(super) struct Guest {
    stranger: Arc<Stranger>,
    all: Arc<Strangers>,
}

impl Guest {
    pub(super) fn stranger(&self) -> Arc<Stranger> {
        Arc::clone(&self.stranger)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = self.all.oldest_first.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, &self.stranger));
    }
}

impl Stranger {
    /// It has said who it is.
    pub(super) fn is_known(&self) {
        self.is_known.store(true, Ordering::Release);
    }

    /// Resolves when it has to go.
    pub(super) async fn out(&self) {
        loop {
            self.out.notified().await;
            // It may have said so a moment before.
            if !self.is_known.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn has_to_go(guest: &Guest) -> bool {
        tokio::time::timeout(Duration::ZERO, guest.stranger.out()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_goes_and_nobody_who_is_known() {
        let strangers = Arc::new(Strangers::new(2));
        let (first, second) = (strangers.came(), strangers.came());
        first.stranger().is_known();
        let third = strangers.came();
        for guest in [&first, &second, &third] {
            assert!(!has_to_go(guest).await);
        }
        let fourth = strangers.came();
        assert!(!has_to_go(&first).await);
        assert!(has_to_go(&second).await);
        drop(third);
        let fifth = strangers.came();
        for guest in [&fourth, &fifth] {
            assert!(!has_to_go(guest).await);
        }
    }
}
