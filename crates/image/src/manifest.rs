//! Manifests and indexes of images (OCI image-spec, Docker schema 2), as bytes of somebody else.

use crate::platform::{self, Platform};
use agentkernel_model::{Error, Kind, Result, image::Digest, text::printable};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The longest manifest or index that is read, in bytes.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// As overlayfs and Docker have it.
pub(crate) const MAX_LAYERS: usize = 127;
/// Entries of an index.
const MAX_ENTRIES: usize = 1000;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// How a layer is compressed is told from its bytes: the two words do not always agree.
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
/// Layers that only their vendor may distribute.
const FOREIGN: [&str; 4] = [
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
];

/// What registries are asked for, as an `Accept` header.
pub(crate) fn accepted() -> String {
    [MANIFESTS, INDEXES].concat().join(", ")
}

/// What a tag or digest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manifest {
    Index(Index),
    Image(ImageManifest),
}

/// One image, for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub entries: Vec<Entry>,
}

/// An image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub descriptor: Descriptor,
    /// `None`: not said, so only the image's own configuration tells.
    pub platform: Option<Platform>,
    pub annotations: BTreeMap<String, String>,
}

/// Content by its digest. The size is what a manifest says, and nothing else may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub digest: Digest,
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: Option<i64>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    urls: Option<Vec<String>>,
    platform: Option<RawPlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// Reads a manifest or an index.
///
/// # Errors
/// [`Kind::Invalid`] for what is neither or both, for other digests than SHA-256, for layers that come from elsewhere
/// (`urls`, foreign media types), and beyond the bounds; [`Kind::Unsupported`] for schema 1 and for artifacts that are
/// no images.
pub fn parse_manifest(bytes: &[u8]) -> Result<Manifest> {
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(Error::invalid("the manifest is longer than 4 MiB"));
    }
    let raw: RawManifest = serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid(format!("the manifest is broken: {}", printable(&e.to_string()))))?;
    if raw.schema_version == Some(1) {
        return Err(Error::new(
            Kind::Unsupported,
            "the image has a manifest of schema 1, which nobody writes any more",
        )
        .with_hint("push it again with a current tool"));
    }
    let media_type = raw.media_type.as_deref();
    match (raw.config, raw.layers, raw.manifests) {
        (None, None, Some(entries)) => {
            known("index", media_type, &INDEXES)?;
            parse_index(entries).map(Manifest::Index)
        }
        (Some(config), Some(layers), None) => {
            known("manifest", media_type, &MANIFESTS)?;
            parse_image(config, layers).map(Manifest::Image)
        }
        // A text that is both would be one thing to us and another to the next reader of the same digest.
        (_, _, Some(_)) => Err(Error::invalid("the manifest is an image and an index at once")),
        _ => Err(Error::invalid("the manifest is neither an image nor an index")),
    }
}

fn known(what: &str, media_type: Option<&str>, list: &[&str]) -> Result<()> {
    match media_type {
        Some(media_type) if !list.contains(&media_type) => Err(Error::new(
            Kind::Unsupported,
            format!("the {what} is of the unknown type '{}'", printable(media_type)),
        )),
        _ => Ok(()),
    }
}

fn parse_image(config: RawDescriptor, layers: Vec<RawDescriptor>) -> Result<ImageManifest> {
    match config.media_type.as_deref() {
        Some(media_type) if CONFIGS.contains(&media_type) => {}
        other => {
            let shown = printable(other.unwrap_or("none"));
            return Err(Error::new(
                Kind::Unsupported,
                format!("this is not a container image: its configuration is of the type '{shown}'"),
            )
            .with_hint("registries hold other things too, such as charts and signatures; name an image"));
        }
    }
    if layers.is_empty() {
        return Err(Error::invalid("the image has no layers"));
    }
    if layers.len() > MAX_LAYERS {
        return Err(Error::invalid(format!("the image has {} layers, more than {MAX_LAYERS}", layers.len())));
    }
    let layers = layers.into_iter().map(|layer| {
        let media_type = layer.media_type.as_deref().unwrap_or_default();
        if FOREIGN.contains(&media_type) {
            return Err(foreign(&layer.digest));
        }
        if !LAYERS.contains(&media_type) {
            let shown = printable(media_type);
            return Err(Error::new(Kind::Unsupported, format!("a layer is of the unknown type '{shown}'")));
        }
        descriptor(layer)
    });
    Ok(ImageManifest { config: descriptor(config)?, layers: layers.collect::<Result<_>>()? })
}

fn foreign(digest: &str) -> Error {
    Error::new(
        Kind::Denied,
        format!("layer '{}' is to come from elsewhere than the registry", printable(digest)),
    )
    .with_hint("such layers are refused: an image must not choose where we connect to")
}

fn descriptor(raw: RawDescriptor) -> Result<Descriptor> {
    if raw.urls.is_some_and(|urls| !urls.is_empty()) {
        return Err(foreign(&raw.digest));
    }
    Ok(Descriptor { digest: raw.digest.parse()?, size: raw.size })
}

fn parse_index(raw: Vec<RawDescriptor>) -> Result<Index> {
    if raw.len() > MAX_ENTRIES {
        return Err(Error::invalid(format!("the index has {} entries, more than {MAX_ENTRIES}", raw.len())));
    }
    let mut entries = Vec::new();
    for mut entry in raw {
        let media_type = entry.media_type.as_deref().unwrap_or_default();
        if INDEXES.contains(&media_type) {
            return Err(Error::new(Kind::Unsupported, "the index holds another index"));
        }
        // Signatures, attestations and whatever comes next live beside images.
        if !MANIFESTS.contains(&media_type) {
            continue;
        }
        let Some(platform) = entry_platform(entry.platform.take()) else { continue };
        let annotations = entry.annotations.take().unwrap_or_default();
        if annotations.contains_key("vnd.docker.reference.type") {
            continue;
        }
        entries.push(Entry { descriptor: descriptor(entry)?, platform, annotations });
    }
    Ok(Index { entries })
}

/// What `index.json` of an OCI layout lists: images, and indexes of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed {
    Image(Entry),
    Index(Entry),
}

/// Reads `index.json` of an OCI layout, which may list indexes where those of registries may not.
///
/// # Errors
/// As [`parse_manifest`].
pub(crate) fn parse_layout(bytes: &[u8]) -> Result<Vec<Listed>> {
    let raw: RawManifest = serde_json::from_slice(bytes)
        .map_err(|e| Error::invalid(format!("index.json is broken: {}", printable(&e.to_string()))))?;
    let entries = raw.manifests.ok_or_else(|| Error::invalid("index.json lists nothing"))?;
    if entries.len() > MAX_ENTRIES {
        return Err(Error::invalid(format!("index.json has more than {MAX_ENTRIES} entries")));
    }
    let mut listed = Vec::new();
    for mut entry in entries {
        let media_type = entry.media_type.clone().unwrap_or_default();
        let Some(platform) = entry_platform(entry.platform.take()) else { continue };
        let annotations = entry.annotations.take().unwrap_or_default();
        let read = Entry { descriptor: descriptor(entry)?, platform, annotations };
        if INDEXES.contains(&media_type.as_str()) {
            listed.push(Listed::Index(read));
        } else if MANIFESTS.contains(&media_type.as_str()) {
            listed.push(Listed::Image(read));
        }
    }
    Ok(listed)
}

/// The platform of an entry, if it says one; `None` for what is for no platform, such as attestations.
fn entry_platform(raw: Option<RawPlatform>) -> Option<Option<Platform>> {
    let Some(raw) = raw else { return Some(None) };
    let (os, architecture) = (raw.os.unwrap_or_default(), raw.architecture.unwrap_or_default());
    if os == "unknown" || architecture == "unknown" {
        return None;
    }
    Platform::new(&os, &architecture, raw.variant.as_deref()).ok().map(Some)
}

impl Index {
    /// The entry for `wanted`; `image` is what it is called.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] with what the image offers, when that is not among it.
    pub fn choose(&self, image: &str, wanted: &Platform) -> Result<&Entry> {
        let fit = |entry: &Entry| entry.platform.as_ref().map_or(Some(u8::MAX), |p| wanted.fit(p));
        let best =
            self.entries.iter().filter_map(|entry| Some((fit(entry)?, entry))).min_by_key(|(fit, _)| *fit);
        let offered = self.entries.iter().filter_map(|entry| entry.platform.as_ref());
        best.map(|(_, entry)| entry).ok_or_else(|| platform::missing(image, wanted, offered))
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
