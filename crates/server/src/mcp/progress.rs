//! What a client hears while a call is under way, as often as it can read.

use super::clip;
use agentkernel_engine::images::{LayerState, Progress};
use agentkernel_model::image::Digest;
use rmcp::{
    Peer, RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::Instant};

/// The shortest time between two notifications.
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of output in one of them: what was written last.
const PIECE: usize = 2000;

/// Where a call says how it goes. Says it to nobody, where the client did not ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Reporter(Option<Arc<Board>>);

#[derive(Debug, Default)]
struct Board {
    news: Mutex<News>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct News {
    line: Option<String>,
    output: Vec<u8>,
}

impl Reporter {
    /// One, and the other side of it when the client wants to hear.
    pub(super) fn new(token: Option<ProgressToken>, peer: &Peer<RoleServer>) -> (Self, Option<Teller>) {
        let Some(token) = token else { return (Self::default(), None) };
        let board = Arc::new(Board::default());
        let teller =
            Teller { board: Arc::clone(&board), token, peer: peer.clone(), count: 0.0, next: Instant::now() };
        (Self(Some(board)), Some(teller))
    }

    /// In the place of what was not told yet.
    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        self.change(|news| news.line = Some(line()));
    }

    /// Behind the output that was not told yet, of which only the end is kept.
    pub(super) fn output(&self, bytes: &[u8]) {
        self.change(|news| {
            news.output.extend_from_slice(&bytes[bytes.len().saturating_sub(PIECE)..]);
            let over = news.output.len().saturating_sub(PIECE);
            news.output.drain(..over);
        });
    }

    fn change(&self, change: impl FnOnce(&mut News)) {
        let Some(board) = &self.0 else { return };
        change(&mut board.news.lock().unwrap_or_else(PoisonError::into_inner));
        board.changed.notify_one();
    }
}

/// Tells a client what a [`Reporter`] says.
#[derive(Debug)]
pub(super) struct Teller {
    board: Arc<Board>,
    token: ProgressToken,
    peer: Peer<RoleServer>,
    count: f64,
    next: Instant,
}

impl Teller {
    /// There is news, and the client had its pause.
    pub(super) async fn ready(&self) {
        self.board.changed.notified().await;
        tokio::time::sleep_until(self.next).await;
    }

    /// Tells what there is, and waits until it is written.
    pub(super) async fn tell(&mut self) {
        let news = std::mem::take(&mut *self.board.news.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(message) = news.message() else { return };
        self.count += 1.0;
        let told = ProgressNotificationParam::new(self.token.clone(), self.count).with_message(message);
        // A client that is gone hears nothing.
        let _ = self.peer.notify_progress(told).await;
        self.next = Instant::now() + PAUSE;
    }
}

impl News {
    fn message(self) -> Option<String> {
        if self.output.is_empty() {
            return self.line;
        }
        Some(clip::readable(&self.output))
    }
}

/// A pull of an image, told to a client.
#[derive(Debug)]
pub(super) struct Pulling {
    reporter: Reporter,
    layers: Mutex<HashMap<Digest, Layer>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    done: u64,
    total: u64,
}

impl Pulling {
    pub(super) fn new(reporter: &Reporter) -> Self {
        Self { reporter: reporter.clone(), layers: Mutex::default() }
    }

    fn change(&self, layer: &Digest, change: impl FnOnce(&mut Layer)) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        change(layers.entry(layer.clone()).or_default());
        let (done, total) =
            layers.values().fold((0, 0), |(done, total), layer| (done + layer.done, total + layer.total));
        let count = layers.len();
        drop(layers);
        self.reporter.say(|| format!("pulling the image: {done} of {total} bytes of {count} layers"));
    }
}

impl Progress for Pulling {
    fn layer(&self, layer: &Digest, total: Option<u64>) {
        self.change(layer, |layer| layer.total = total.unwrap_or_default());
    }

    fn state(&self, layer: &Digest, state: LayerState) {
        if matches!(state, LayerState::Done | LayerState::Present) {
            self.change(layer, |layer| layer.done = layer.total);
        }
    }

    fn bytes(&self, layer: &Digest, done: u64) {
        self.change(layer, |layer| layer.done = done);
    }

    fn note(&self, message: &str) {
        self.reporter.say(|| message.to_owned());
    }
}
