//! Importing: from a file or a directory to images in the store, for machines that reach no registry.

use crate::{
    bundle::Bundle,
    config::{self, ImageConfig, MAX_CONFIG},
    digest,
    halt::Halt,
    layers::{Held, Maker, Packed, Wanted},
    manifest::{self, Descriptor, Listed, MAX_MANIFEST, Manifest},
    platform::{self, Platform},
    progress::Progress,
    store::{Image, Images, NewImage, about},
};
use agentkernel_model::{
    Error, Result,
    image::{Digest, Reference},
    text::printable,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fs::File, path::Path};

/// Images of one archive.
const MAX_IMAGES: usize = 1000;
/// What names images in OCI layouts: containerd writes whole references, others what they like.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";

/// What becomes of a name that means another image already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Keep,
    Replace,
}

/// An image of a bundle.
struct Found {
    id: Digest,
    config: ImageConfig,
    config_bytes: Vec<u8>,
    manifest: Option<(Digest, Vec<u8>)>,
    names: Vec<Reference>,
    /// Lowest first.
    layers: Vec<Part>,
}

/// A layer of a bundle.
struct Part {
    path: String,
    /// What the bundle says it is; archives of Docker say nothing, and the diff id is all there is to check.
    blob: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Images {
    /// Brings the images of `source` for this machine: an archive that `docker save` wrote, or an OCI layout as a
    /// directory or an archive, compressed by gzip or zstd or not at all. They are named as `source` says; with `name`,
    /// the one that it holds is named so, whatever that meant before.
    ///
    /// # Errors
    /// [`AlreadyExists`](agentkernel_model::Kind::AlreadyExists) when a name of `source`'s own means another image here, and
    /// `names` does not let it;
    /// [`Invalid`](agentkernel_model::Kind::Invalid) for what is neither, is broken, or with `name` holds several images;
    /// `Unsupported` when all are for other machines; `Exhausted` when the disk is full.
    pub fn import(
        &self,
        source: &Path,
        name: Option<&Reference>,
        names: Names,
        progress: &dyn Progress,
    ) -> Result<Vec<Image>> {
        self.layout.prepare()?;
        let bundle = Bundle::open(&self.layout, source)?;
        // Docker writes both indexes into one archive; the older names its images better.
        let mut found = match (bundle.find("manifest.json")?, bundle.find("index.json")?) {
            (Some(_), _) => docker(&bundle)?,
            (None, Some(_)) => oci(&bundle)?,
            (None, None) => {
                return Err(Error::invalid(format!("'{}' holds no image", bundle.name()))
                    .with_hint("it must be what 'docker save' writes, or an OCI layout"));
            }
        };
        if let Some(name) = name {
            let [only] = found.as_mut_slice() else {
                let message =
                    format!("'{}' holds {} images, and one name is given", bundle.name(), found.len());
                return Err(Error::invalid(message).with_hint("import it without a name: its own are kept"));
            };
            only.names = vec![name.clone()];
        } else if names == Names::Keep {
            found.iter().try_for_each(|image| self.is_new(image))?;
        }
        let halt = Halt::new();
        let maker =
            Maker { layout: &self.layout, uid: self.uid, halt: &halt, progress, swollen: Default::default() };
        let mut images = Vec::new();
        for image in &found {
            let held = hold(&bundle, &maker, image)?;
            let new = NewImage {
                id: &image.id,
                config: &image.config,
                config_bytes: &image.config_bytes,
                manifest: image.manifest.as_ref().map(|(digest, bytes)| (digest, bytes.as_slice())),
                named: image.manifest.as_ref().map(|(digest, _)| digest),
                names: &image.names,
            };
            images.push(self.commit(&new, &held).map_err(|e| about(bundle.name(), e))?);
        }
        Ok(images)
    }
}

impl Images {
    /// That no name of `found` means another image. A record that is broken means none.
    fn is_new(&self, found: &Found) -> Result<()> {
        let other = |name: &&Reference| {
            self.find(name).unwrap_or_default().is_some_and(|image| *image.id() != found.id)
        };
        match found.names.iter().find(other) {
            None => Ok(()),
            Some(name) => Err(Error::new(
                agentkernel_model::Kind::AlreadyExists,
                format!(
                    "image '{name}' is on this machine already, and the file has another one of that name"
                ),
            )
            .with_hint("--force lets it have the name, --name REF gives it another one")),
        }
    }
}

fn hold(bundle: &Bundle, maker: &Maker<'_>, image: &Found) -> Result<Vec<(Digest, Held)>> {
    let mut held: Vec<(Digest, Held)> = Vec::new();
    for (diff_id, part) in image.config.diff_ids.iter().zip(&image.layers) {
        if held.iter().any(|(known, _)| known == diff_id) {
            continue;
        }
        let known_as = part.blob.as_ref().map_or(diff_id, |blob| &blob.digest);
        let layer = maker.hold(&Wanted { diff_id, known_as }, |pass_on| {
            let file = bundle.open_part(&part.path)?;
            let unreadable = |e| Error::io(format!("cannot read '{}'", printable(&part.path)), e);
            let size = file.metadata().map_err(unreadable)?.len();
            maker.progress.layer(known_as, Some(size));
            if let Some(blob) = &part.blob {
                verify(bundle, &file, size, blob)?;
            }
            pass_on(Packed { source: &file, size })?;
            maker.progress.bytes(known_as, size);
            Ok(())
        });
        held.push((diff_id.clone(), layer.map_err(|e| about(bundle.name(), e))?));
    }
    Ok(held)
}

fn verify(bundle: &Bundle, file: &File, size: u64, blob: &Descriptor) -> Result<()> {
    let mut hash = Sha256::new();
    digest::read(&mut hash, file)
        .map_err(|e| Error::io(format!("cannot read a layer of '{}'", bundle.name()), e))?;
    let digest = digest::finished(&hash);
    if digest == blob.digest && size == blob.size {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{size} bytes of {digest} lie in the place of {} of {}",
        blob.size, blob.digest
    ))
    .with_hint("the files are broken: write them again"))
}

/// The images of `manifest.json`.
fn docker(bundle: &Bundle) -> Result<Vec<Found>> {
    let listed: Vec<DockerImage> = serde_json::from_slice(&bundle.read("manifest.json", MAX_MANIFEST)?)
        .map_err(|e| {
            let why = printable(&e.to_string());
            Error::invalid(format!("manifest.json in '{}' is broken: {why}", bundle.name()))
        })?;
    if listed.is_empty() || listed.len() > MAX_IMAGES {
        let message =
            format!("'{}' holds {} images, and may hold 1 to {MAX_IMAGES}", bundle.name(), listed.len());
        return Err(Error::invalid(message));
    }
    let mut images = Vec::new();
    let mut configs = 0;
    for image in listed {
        let config_bytes = bundle.read(&image.config, MAX_CONFIG)?;
        // All are kept until the last is read.
        configs += config_bytes.len() as u64;
        if configs > 4 * MAX_CONFIG {
            return Err(Error::invalid(format!(
                "the configurations of the images in '{}' are more than {} MiB together",
                bundle.name(),
                (4 * MAX_CONFIG) >> 20
            )));
        }
        let names = image.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let layers = image.layers.into_iter().map(|path| Part { path, blob: None }).collect();
        images.push(found(bundle, config_bytes, None, names, layers)?);
    }
    Ok(images)
}

/// The images of `index.json` for this machine.
fn oci(bundle: &Bundle) -> Result<Vec<Found>> {
    let wanted = Platform::of_this_machine();
    let listed = manifest::parse_layout(&bundle.read("index.json", MAX_MANIFEST)?)
        .map_err(|e| about(bundle.name(), e))?;
    let mut offered = Vec::new();
    // Several names of one image are several entries.
    let mut images: BTreeMap<Digest, Found> = BTreeMap::new();
    for entry in listed {
        let (descriptor, annotations) = match entry {
            Listed::Image(entry) if entry.platform.as_ref().is_some_and(|p| wanted.fit(p).is_none()) => {
                offered.extend(entry.platform);
                continue;
            }
            Listed::Image(entry) => (entry.descriptor, entry.annotations),
            Listed::Index(entry) => (choose(bundle, &entry.descriptor, &wanted)?, entry.annotations),
        };
        let names = name(&annotations);
        let image = image(bundle, &descriptor, names)?;
        match images.get_mut(&image.id) {
            Some(known) => known.names.extend(image.names),
            None => drop(images.insert(image.id.clone(), image)),
        }
    }
    if images.is_empty() {
        return Err(platform::missing(bundle.name(), &wanted, offered.iter()));
    }
    Ok(images.into_values().collect())
}

/// The image for this machine of an index below `index.json`.
fn choose(bundle: &Bundle, index: &Descriptor, wanted: &Platform) -> Result<Descriptor> {
    match manifest::parse_manifest(&blob(bundle, index, MAX_MANIFEST)?)
        .map_err(|e| about(bundle.name(), e))?
    {
        Manifest::Index(index) => Ok(index.choose(bundle.name(), wanted)?.descriptor.clone()),
        Manifest::Image(_) => Err(Error::invalid(format!("'{}' calls an image an index", bundle.name()))),
    }
}

fn image(bundle: &Bundle, descriptor: &Descriptor, names: Vec<Reference>) -> Result<Found> {
    let bytes = blob(bundle, descriptor, MAX_MANIFEST)?;
    let Manifest::Image(manifest) = manifest::parse_manifest(&bytes).map_err(|e| about(bundle.name(), e))?
    else {
        return Err(Error::invalid(format!("'{}' calls an index an image", bundle.name())));
    };
    let config = blob(bundle, &manifest.config, MAX_CONFIG)?;
    let layers = manifest.layers.into_iter();
    let layers = layers.map(|blob| Part { path: path(&blob.digest), blob: Some(blob) }).collect();
    found(bundle, config, Some((descriptor.digest.clone(), bytes)), names, layers)
}

fn found(
    bundle: &Bundle,
    config_bytes: Vec<u8>,
    manifest: Option<(Digest, Vec<u8>)>,
    names: Vec<Reference>,
    layers: Vec<Part>,
) -> Result<Found> {
    let config = config::parse_config(&config_bytes).map_err(|e| about(bundle.name(), e))?;
    let wanted = Platform::of_this_machine();
    if wanted.fit(&config.platform).is_none() {
        return Err(platform::missing(bundle.name(), &wanted, std::iter::once(&config.platform)));
    }
    if config.diff_ids.len() != layers.len() {
        let (listed, known) = (layers.len(), config.diff_ids.len());
        let message = format!("it lists {listed} layers, and its configuration {known}");
        return Err(about(bundle.name(), Error::invalid(message)));
    }
    let id = digest::of(&config_bytes);
    Ok(Found { id, config, config_bytes, manifest, names, layers })
}

/// A small blob of an OCI layout, verified.
fn blob(bundle: &Bundle, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
    let bytes = bundle.read(&path(&descriptor.digest), limit)?;
    let digest = digest::of(&bytes);
    if digest == descriptor.digest && bytes.len() as u64 == descriptor.size {
        return Ok(bytes);
    }
    let message = format!("'{}' holds {digest} in the place of {}", bundle.name(), descriptor.digest);
    Err(Error::invalid(message).with_hint("the files are broken: write them again"))
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Whole references only: a lone tag such as `latest` names no image.
fn name(annotations: &BTreeMap<String, String>) -> Vec<Reference> {
    let whole = |key: &str| annotations.get(key).filter(|name| name.contains(['/', ':']));
    let name = whole(CONTAINERD_NAME).or_else(|| whole(OCI_NAME));
    name.and_then(|name| name.parse().ok()).into_iter().collect()
}
