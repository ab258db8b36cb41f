//! Sweeping what belongs to no image: layers, downloads, and what a killed process left on its way.

use crate::{
    disk, layers,
    layout::{GONE, IMPORT, Layout, MAKE, NEW, digest_of},
    lock::Lock,
    prune::{Effect, PruneReport},
    records::Record,
    registry,
    store::Images,
    tree,
};
use agentkernel_model::{Result, image::Digest};
use std::collections::BTreeSet;

/// Locks that are held at the same time.
const AT_ONCE: usize = 64;

impl Images {
    /// Everything but texts, which [`Images::sweep_texts`] takes.
    pub(crate) fn sweep(&self, effect: Effect, report: &mut PruneReport) -> Result<()> {
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
    pub(crate) fn sweep_layers(
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
    pub(crate) fn needed(&self, gone: &BTreeSet<Digest>) -> Result<BTreeSet<Digest>> {
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
    pub(crate) fn sweep_texts(&self, _records: &Lock) -> Result<()> {
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
