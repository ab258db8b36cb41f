//! Removing images, and sweeping what nobody needs or a killed process left.
//!
//! An image goes in this order: its lock alone, its names, its record; then the layers that no record needs, each with its
//! lock alone. A pull holds the locks of its layers until it has written its record, so whoever has a layer's lock and
//! sees no record that needs it may remove it.

use crate::{
    digest, disk, layers,
    layout::{GONE, IMPORT, Layout, MAKE, NEW, digest_of},
    lock::Lock,
    records::{self, Name, Record},
    registry,
    store::{ImageInfo, Images},
    tree,
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

/// Locks that are held at the same time.
const AT_ONCE: usize = 64;

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

    fn sweep(&self, effect: Effect, report: &mut PruneReport) -> Result<()> {
        let gone: BTreeSet<Digest> = match effect {
            Effect::Report => report.images.iter().map(|image| image.id.clone()).collect(),
            Effect::Remove => BTreeSet::new(),
        };
        let names = disk::names(&self.layout.layers())?;
        let all: Vec<Digest> = names.iter().filter_map(|hex| digest_of(hex)).collect();
        self.sweep_layers(&all, &gone, effect, report)?;
        for name in &names {
            self.sweep_beginning(name, effect, report)?;
        }
        self.sweep_partials(effect, report)?;
        if effect == Effect::Remove { self.sweep_locks() } else { Ok(()) }
    }

    /// Removes those of `layers` that no image needs but such as are `gone`.
    fn sweep_layers(
        &self,
        layers: &[Digest],
        gone: &BTreeSet<Digest>,
        effect: Effect,
        report: &mut PruneReport,
    ) -> Result<()> {
        for some in layers.chunks(AT_ONCE) {
            let needed = self.needed(gone)?;
            let mut held = Vec::new();
            for layer in some.iter().filter(|layer| !needed.contains(layer)) {
                let lock = Lock::attempt(&self.layout.in_use(layer))?;
                held.extend(lock.map(|lock| (layer, lock)));
            }
            // Of a pull that ended meanwhile.
            let needed = self.needed(gone)?;
            for (layer, lock) in held.into_iter().filter(|(layer, _)| !needed.contains(layer)) {
                let path = self.layout.layer(layer);
                if !path.exists() {
                    continue;
                }
                report.bytes +=
                    layers::facts(&self.layout, layer).ok().flatten().map_or(0, |facts| facts.bytes);
                report.layers += 1;
                if effect == Effect::Remove {
                    remove_layer(&self.layout, layer)?;
                    lock.discard(&self.layout.in_use(layer))?;
                }
            }
        }
        Ok(())
    }

    /// The layers of all images but such as are `gone`.
    ///
    /// # Errors
    /// When a record cannot be read: what it needs cannot be told, so nothing may go.
    fn needed(&self, gone: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>> {
        let mut needed = BTreeSet::new();
        for id in self.ids()?.into_iter().filter(|id| !gone.contains(id)) {
            if let Some(record) = Record::read(&self.layout, &id)? {
                needed.extend(record.layers);
            }
        }
        Ok(needed)
    }

    /// Layers on their way in or out, whose process was killed.
    fn sweep_beginning(&self, name: &str, effect: Effect, report: &mut PruneReport) -> Result<()> {
        let of = |prefix: &str| name.strip_prefix(prefix).and_then(digest_of);
        let lock = match (of(NEW), of(GONE)) {
            (Some(layer), _) => Lock::attempt(&self.layout.making(&layer))?,
            (_, Some(layer)) => Lock::attempt(&self.layout.in_use(&layer))?,
            _ => return Ok(()),
        };
        if lock.is_some() {
            report.leftovers += 1;
            if effect == Effect::Remove {
                tree::remove(&self.layout.layers().join(name))?;
            }
        }
        Ok(())
    }

    fn sweep_partials(&self, effect: Effect, report: &mut PruneReport) -> Result<()> {
        for name in disk::names(&self.layout.partials())? {
            let path = self.layout.partials().join(&name);
            if digest_of(&name).is_some() {
                let bytes = match effect {
                    Effect::Remove => registry::remove_leftover(&path)?,
                    Effect::Report => path.metadata().ok().map(|meta| meta.len()),
                };
                report.leftovers += usize::from(bytes.is_some());
                report.bytes += bytes.unwrap_or(0);
            } else if name.starts_with(IMPORT)
                && let Some(_alone) = Lock::directory(&path)?
            {
                report.leftovers += 1;
                if effect == Effect::Remove {
                    tree::remove(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Manifests and configurations that no record names, and files that were on their way. The lock is proof that
    /// nobody is about to name them.
    fn sweep_texts(&self, _records: &Lock) -> Result<()> {
        let mut named: BTreeSet<String> = BTreeSet::new();
        for id in self.ids()? {
            named.insert(id.hex().to_owned());
            if let Some(record) = Record::read(&self.layout, &id)? {
                named.extend(record.manifest.map(|digest| digest.hex().to_owned()));
            }
        }
        let layout = &self.layout;
        for (dir, listed) in [
            (layout.manifests(), true),
            (layout.configs(), true),
            (layout.names(), false),
            (layout.images(), false),
        ] {
            for name in disk::names(&dir)? {
                if name.starts_with(NEW) || (listed && !named.contains(&name)) {
                    disk::remove(&dir.join(&name))?;
                }
            }
        }
        Ok(())
    }

    /// Locks of what is not here. Who waits for one makes it anew.
    fn sweep_locks(&self) -> Result<()> {
        for name in disk::names(&self.layout.locks())? {
            let Some(digest) = digest_of(name.trim_end_matches(MAKE)) else { continue };
            if self.layout.image(&digest).exists() || self.layout.layer(&digest).exists() {
                continue;
            }
            let path = self.layout.locks().join(&name);
            if let Some(lock) = Lock::attempt(&path)? {
                lock.discard(&path)?;
            }
        }
        Ok(())
    }
}

/// Takes a layer out of sight at once, and then apart.
fn remove_layer(layout: &Layout, layer: &Digest) -> Result<()> {
    let (path, gone) = (layout.layer(layer), layout.gone_layer(layer));
    // Of one who was killed.
    tree::remove(&gone)?;
    std::fs::rename(&path, &gone).map_err(|e| disk::failed("rename", &path, e))?;
    tree::remove(&gone)
}
