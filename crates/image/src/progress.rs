//! What a pull or an import tells while it goes on.

use agentkernel_model::image::Digest;

/// Hears how a pull or an import goes on. Called from several threads at once, and often: be quick.
pub trait Progress: Sync {
    /// There is a layer, of `total` bytes to fetch. A layer is known by the digest of what is fetched.
    fn layer(&self, layer: &Digest, total: Option<u64>) {
        let _ = (layer, total);
    }

    fn state(&self, layer: &Digest, state: LayerState) {
        let _ = (layer, state);
    }

    /// So many bytes are here, in all. It goes back when a registry makes us start over.
    fn bytes(&self, layer: &Digest, done: u64) {
        let _ = (layer, done);
    }

    /// Something that people should know though it stopped nothing, such as a mirror that is down. One line, fit for a
    /// terminal.
    fn note(&self, message: &str) {
        let _ = message;
    }
}

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// Another pull is busy with it.
    Waiting,
    Downloading,
    Unpacking,
    Done,
    /// It was here before.
    Present,
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
