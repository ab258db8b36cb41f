//! Unpacked layers: each made once, whoever wants it, and visible when it is whole.

use crate::{
    decode::{Content, LIMITS},
    disk::{self, failed},
    halt::Halt,
    layout::Layout,
    lock::Lock,
    progress::{LayerState, Progress},
    tree,
};
use agentkernel_archive::{Bounds, Existing, Ownership, UnpackOptions, Whiteouts, unpack};
use agentkernel_model::{Error, Result, image::Digest};
use rustix::fd::AsFd as _;
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Files, directories and links of one layer.
const MAX_ENTRIES: u64 = 2_000_000;
/// Bytes of the facts about a layer.
const MAX_FACTS: u64 = 64 << 10;

/// A layer that is here and stays while this value lives.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) facts: Facts,
    _lock: Lock,
}

/// What is known of an unpacked layer, next to its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Bytes of its files.
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// One layer that is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) diff_id: &'a Digest,
    /// What it is known by to who watches: the digest of what is fetched.
    pub(crate) known_as: &'a Digest,
}

/// Who makes layers: where, as whom, watched by whom.
pub(crate) struct Maker<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) uid: u32,
    pub(crate) halt: &'a Halt,
    pub(crate) progress: &'a dyn Progress,
    /// Bytes of those layers that unpacked to more than is usual, all together: each alone may be too small to be refused.
    pub(crate) swollen: AtomicU64,
}

/// What layers that swell may come to together.
const MOST_SWOLLEN: u64 = 4 << 30;

/// A layer as it is distributed.
pub(crate) struct Packed<'a> {
    pub(crate) source: &'a File,
    /// Bytes of `source`.
    pub(crate) size: u64,
}

impl Maker<'_> {
    /// Returns the layer; where it is not here, `obtain` is asked for it and has to pass it on. Whoever makes the same
    /// layer at the same time is waited for.
    ///
    /// # Errors
    /// [`Invalid`](agentkernel_model::Kind::Invalid) when what is obtained is not that layer, or beyond the bounds;
    /// nothing of it is kept.
    pub(crate) fn hold(
        &self,
        wanted: &Wanted<'_>,
        obtain: impl FnOnce(&mut dyn FnMut(Packed<'_>) -> Result<()>) -> Result<()>,
    ) -> Result<Held> {
        let done = |facts, state, lock| {
            self.progress.state(wanted.known_as, state);
            Ok(Held { facts, _lock: lock })
        };
        let lock = Lock::shared(&self.layout.in_use(wanted.diff_id))?;
        if let Some(facts) = facts(self.layout, wanted.diff_id)? {
            return done(facts, LayerState::Present, lock);
        }
        let making = self.layout.making(wanted.diff_id);
        let _making = match Lock::attempt(&making)? {
            Some(held) => held,
            None => {
                self.progress.state(wanted.known_as, LayerState::Waiting);
                Lock::exclusive(&making)?
            }
        };
        if let Some(facts) = facts(self.layout, wanted.diff_id)? {
            return done(facts, LayerState::Present, lock);
        }
        let mut made = None;
        obtain(&mut |packed| {
            self.progress.state(wanted.known_as, LayerState::Unpacking);
            made = Some(self.make(wanted.diff_id, packed)?);
            Ok(())
        })?;
        match made {
            Some(facts) => done(facts, LayerState::Done, lock),
            None => Err(Error::internal("a layer was obtained and not passed on")),
        }
    }

    fn make(&self, diff_id: &Digest, packed: Packed<'_>) -> Result<Facts> {
        let new = self.layout.new_layer(diff_id);
        // Of one who was killed.
        tree::remove(&new)?;
        let made = self.fill(&new, diff_id, packed).and_then(|facts| {
            let layers = self.layout.layers();
            std::fs::rename(&new, self.layout.layer(diff_id)).map_err(|e| failed("rename", &new, e))?;
            File::open(&layers).and_then(|dir| dir.sync_all()).map_err(|e| failed("flush", &layers, e))?;
            Ok(facts)
        });
        if made.is_err() {
            // The first error says more than one about its remains; the next maker removes those.
            drop(tree::remove(&new));
        }
        made
    }

    fn fill(&self, new: &Path, diff_id: &Digest, packed: Packed<'_>) -> Result<Facts> {
        let root = new.join("tree");
        let make = |path: &Path, mode| {
            DirBuilder::new().mode(mode).create(path).map_err(|e| failed("make", path, e))
        };
        make(new, 0o700)?;
        make(&root, 0o755)?;
        let root = File::open(&root).map_err(|e| failed("open", &root, e))?;
        let what = format!("layer {diff_id}");
        let limit = LIMITS.of(packed.size);
        let mut content = Content::new(packed.source, &what, packed.size, LIMITS, self.halt)?;
        let options = UnpackOptions {
            bounds: Bounds { bytes: limit, entries: MAX_ENTRIES },
            ownership: if self.uid == 0 { Ownership::Archive } else { Ownership::Caller },
            whiteouts: Whiteouts::Overlay,
            existing: Existing::Replace,
        };
        let unpacked = unpack(&mut content, root.as_fd(), &options).map_err(disk::full)?;
        let found = content.finish()?;
        if found != *diff_id {
            return Err(Error::invalid(format!(
                "a layer is {found} when unpacked, and the image's configuration says {diff_id}"
            ))
            .with_hint("the image is broken, or somebody changed it: nothing of this layer was kept"));
        }
        if unpacked.bytes > packed.size.saturating_mul(LIMITS.ratio) {
            let before = self.swollen.fetch_add(unpacked.bytes, Ordering::Relaxed);
            if before.saturating_add(unpacked.bytes) > MOST_SWOLLEN {
                return Err(Error::invalid(format!(
                    "the layers of the image unpack to more than {} GiB from next to nothing",
                    MOST_SWOLLEN >> 30
                ))
                .with_hint("nobody packs software so well: it is made to fill your disk"));
            }
        }
        let facts = Facts { bytes: unpacked.bytes, entries: unpacked.entries };
        let text = serde_json::to_vec(&facts).map_err(|e| Error::internal(e.to_string()))?;
        disk::replace(&new.join("layer"), &text)?;
        disk::flush(&root, new)?;
        Ok(facts)
    }
}

/// The facts about a layer that is here; `None` when it is not.
///
/// # Errors
/// When they cannot be read, or say nothing.
pub(crate) fn facts(layout: &Layout, diff_id: &Digest) -> Result<Option<Facts>> {
    let path = layout.layer(diff_id).join("layer");
    let Some(text) = disk::read(&path, MAX_FACTS)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|e| {
        Error::internal(format!("'{}' is broken", path.display()))
            .with_source(e)
            .with_hint("agentkernel images local-sync")
    })
}
