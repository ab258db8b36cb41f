//! Removing images, and mending the store.
//!
//! An image goes in this order: its lock alone, its names, its record; then the layers that no record needs, each with its
//! lock alone. A pull holds the locks of its layers until it has written its record, so whoever has a layer's lock and
//! sees no record that needs it may remove it.

use crate::{
    digest, disk, layers,
    lock::Lock,
    records::{self, Name, Record},
    store::{ImageInfo, Images},
};
use agentkernel_model::{
    Error, Kind, Result,
    image::{Digest, Reference},
};
use std::collections::BTreeSet;

/// Which images go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Those without a name, such as the last version of a tag that moved on.
    Dangling,
    /// All that nobody uses.
    Unused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Only tell.
    Report,
    Remove,
}

/// What went, or would go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    pub images: Vec<ImageInfo>,
    pub layers: usize,
    /// Downloads and other beginnings that nobody works on.
    pub leftovers: usize,
    /// Bytes of layers and downloads. What an interrupted unpacking left is not counted.
    pub bytes: u64,
    /// Images that stay because something runs on them.
    pub in_use: usize,
}

/// What came of removing a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub id: Digest,
    pub extent: Extent,
    /// Freed.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The image has other names.
    Name,
    Image,
}

/// What a check mended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Names that meant nothing any more, as people write them; broken records by their file's name.
    pub names: Vec<String>,
    /// Images that were not whole.
    pub images: Vec<Digest>,
    /// What belonged to nothing.
    pub swept: PruneReport,
}

impl Images {
    /// Removes `reference`, and the image with it when it was its last name. Layers that others share stay.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the name is not here; [`Kind::Conflict`] when it is the last one of an image that
    /// something runs on.
    pub fn remove(&self, reference: &Reference) -> Result<Removed> {
        let not_here = || {
            Error::new(Kind::NotFound, format!("image '{reference}' is not on this machine"))
                .with_hint("see those that are: agentkernel images list")
        };
        if !self.layout.exists() {
            return Err(not_here());
        }
        let records = records::lock(&self.layout)?;
        self.needed(&BTreeSet::new())?;
        let id = Name::read(&self.layout, reference)?.ok_or_else(not_here)?.image;
        let (names, _) = Name::all(&self.layout)?;
        if names.iter().any(|name| name.image == id && name.reference != *reference) {
            disk::remove(&self.layout.name(reference))?;
            return Ok(Removed { id, extent: Extent::Name, bytes: 0 });
        }
        let Some(alone) = Lock::attempt(&self.layout.in_use(&id))? else {
            return Err(Error::new(Kind::Conflict, format!("image '{reference}' is in use"))
                .with_hint("stop the sandboxes that run on it: agentkernel sandbox list"));
        };
        let layers =
            Record::read(&self.layout, &id).ok().flatten().map_or_else(Vec::new, |record| record.layers);
        disk::remove(&self.layout.name(reference))?;
        disk::remove(&self.layout.image(&id))?;
        alone.discard(&self.layout.in_use(&id))?;
        self.sweep_texts(&records)?;
        drop(records);
        let mut report = PruneReport::default();
        self.sweep_layers(&layers, &BTreeSet::new(), Effect::Remove, &mut report)?;
        Ok(Removed { id, extent: Extent::Image, bytes: report.bytes })
    }

    /// Removes the images that `what` names, but none of `keep` and none that something runs on; and whatever belongs to
    /// no image: layers, interrupted downloads, leftovers of killed processes. Pulls that go on are not disturbed.
    ///
    /// # Errors
    /// When the store is broken ([`Images::check`] mends it), or cannot be read or written. What was removed before is
    /// removed.
    pub fn prune(&self, keep: &BTreeSet<Digest>, what: Prune, effect: Effect) -> Result<PruneReport> {
        self.prune_keeping(|| Ok(keep.clone()), what, effect)
    }

    /// As [`Images::prune`]. `keep` is asked while each image that a running command holds is known: a sandbox holds its
    /// image from before it is written down until after, so none is missed in between.
    ///
    /// # Errors
    /// As [`Images::prune`], and what `keep` fails with.
    pub fn prune_keeping(
        &self,
        keep: impl FnOnce() -> Result<BTreeSet<Digest>>,
        what: Prune,
        effect: Effect,
    ) -> Result<PruneReport> {
        let mut report = PruneReport::default();
        if !self.layout.exists() {
            return Ok(report);
        }
        let records = records::lock(&self.layout)?;
        self.needed(&BTreeSet::new())?;
        // Held before the question is asked: who takes one up afterwards finds it gone, and says so.
        let mut idle = Vec::new();
        for image in self.list()? {
            if what == Prune::Dangling && !image.names.is_empty() {
                continue;
            }
            match Lock::attempt(&self.layout.in_use(&image.id))? {
                Some(alone) => idle.push((image, alone)),
                None => report.in_use += 1,
            }
        }
        let keep = keep()?;
        for (image, alone) in idle {
            if keep.contains(&image.id) {
                continue;
            }
            if effect == Effect::Remove {
                for name in &image.names {
                    disk::remove(&self.layout.name(name))?;
                }
                disk::remove(&self.layout.image(&image.id))?;
                alone.discard(&self.layout.in_use(&image.id))?;
            }
            report.images.push(image);
        }
        if effect == Effect::Remove {
            self.sweep_texts(&records)?;
        }
        drop(records);
        self.sweep(effect, &mut report)?;
        Ok(report)
    }

    /// Drops the names and images whose parts are missing or broken, and sweeps what belongs to nothing. While something
    /// runs on an image that is broken, that image stays, and nothing is swept.
    ///
    /// # Errors
    /// When the store cannot be read or written, or a newer agentkernel wrote in it.
    pub fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        if !self.layout.exists() {
            return Ok(report);
        }
        let records = records::lock(&self.layout)?;
        for id in self.ids()? {
            if self.is_whole(&id)? {
                continue;
            }
            match Lock::attempt(&self.layout.in_use(&id))? {
                Some(_alone) => {
                    disk::remove(&self.layout.image(&id))?;
                    report.images.push(id);
                }
                None => report.swept.in_use += 1,
            }
        }
        let (names, broken) = Name::all(&self.layout)?;
        for name in names {
            if !self.layout.image(&name.image).exists() {
                disk::remove(&self.layout.name(&name.reference))?;
                report.names.push(name.reference.to_string());
            }
        }
        for file in broken {
            disk::remove(&self.layout.names().join(&file))?;
            report.names.push(file);
        }
        // Something runs on an image of which it cannot be told what it needs.
        if report.swept.in_use > 0 {
            return Ok(report);
        }
        self.sweep_texts(&records)?;
        drop(records);
        self.sweep(Effect::Remove, &mut report.swept)?;
        Ok(report)
    }

    /// Whether an image's record is sound, its configuration the one that it is named after, and its layers here.
    fn is_whole(&self, id: &Digest) -> Result<bool> {
        let record = match Record::read(&self.layout, id) {
            Ok(Some(record)) => record,
            // Not ours to judge.
            Err(error) if error.kind() == Kind::Unsupported => return Err(error),
            _ => return Ok(false),
        };
        let config = disk::read(&self.layout.config(id), crate::config::MAX_CONFIG)?;
        let sound = config.is_some_and(|text| digest::of(&text) == *id);
        let here = |layer: &Digest| {
            matches!(layers::facts(&self.layout, layer), Ok(Some(_)))
                && self.layout.layer_tree(layer).is_dir()
        };
        Ok(sound && record.layers.iter().all(here))
    }
}
