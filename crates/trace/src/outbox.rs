//! Spans that have ended, until somebody takes them.

use crate::Finished;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Where ended spans wait. There is room for so many; those that come when it is full are lost, and counted.
#[derive(Debug)]
pub struct Outbox {
    most: usize,
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<Finished>,
    lost: u64,
}

impl Outbox {
    /// Of a command or a server.
    pub const ROOM: usize = 2048;
    /// Of a process that another one has work done by: as much as one message of theirs holds.
    pub const SMALL: usize = 64;

    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default(), came: Notify::new() }
    }

    pub(crate) fn put(&self, span: Finished) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.spans.len() >= self.most {
            waiting.lost += 1;
            return;
        }
        waiting.spans.push(span);
        drop(waiting);
        self.came.notify_one();
    }

    /// At most `count` of those that wait, the oldest first.
    pub fn take(&self, count: usize) -> Vec<Finished> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(waiting.spans.len());
        waiting.spans.drain(..count).collect()
    }

    /// How many were lost since this was asked.
    pub(crate) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner).lost)
    }

    /// Resolves when there is something to take, or was.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }
}
