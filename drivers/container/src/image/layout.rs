//! An image as an OCI image layout in one archive (image-spec, "OCI Image Layout"), for an engine that is given a file.
//!
//! Generated files are a layer of it, the topmost: who only has a command line to talk to an engine cannot put files into
//! a read-only root later.

use super::{
    LABEL, NAME, bundle,
    packed::PackedLayer,
    recipe::{self, Mark, Recipe},
};
use agentkernel_backend::Rootfs;
use agentkernel_model::{Error, Result, image::Digest};
use serde_json::{Value, json};
use std::{
    io::{self, BufWriter, Read, Seek as _, SeekFrom, Write},
    path::Path,
};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The names under which loaders look for the name of an image: the specification's, and what others write.
const NAMED: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// A root file system whose name is known.
#[derive(Debug)]
pub(crate) struct Layout {
    hash: String,
    recipe: Recipe,
    /// The archive of the generated files.
    top: Vec<u8>,
}

impl Layout {
    /// Layers whose names do not tell their content are read, and packed in `scratch`.
    ///
    /// # Errors
    /// When they cannot be.
    pub(crate) fn of(rootfs: &Rootfs, scratch: &Path) -> Result<Self> {
        let recipe = Recipe::of(rootfs, None, scratch)?;
        let top = generated(rootfs)?;
        let content = json!({ "recipe": recipe.hash(), "top": recipe::digest(&top).as_str() });
        let hash = recipe::digest(content.to_string().as_bytes()).hex().to_owned();
        Ok(Self { hash, recipe, top })
    }

    /// What the image's label says.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    pub(crate) fn name(&self) -> String {
        format!("{NAME}:{}", self.hash)
    }

    /// Writes it to a file in `scratch`, which is removed when the value is dropped.
    ///
    /// # Errors
    /// When layers cannot be read or the file cannot be written.
    pub(crate) fn write(self, scratch: &Path) -> Result<NamedTempFile> {
        let name = self.name();
        let (_, mut layers) = self.recipe.pack(scratch)?;
        if !self.top.is_empty() {
            layers.push(PackedLayer::from_bytes(&self.top, scratch)?);
        }
        let config = bundle::config(&Mark { hash: self.hash, owner: None }, &layers);
        let blobs: Vec<Value> = layers.iter().map(|l| descriptor(LAYER, l.digest(), l.size())).collect();
        let config_digest = recipe::digest(&config);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config_digest, config.len() as u64),
            "layers": blobs,
        })
        .to_string();
        let manifest_digest = recipe::digest(manifest.as_bytes());
        let index = index(&name, &manifest_digest, manifest.len() as u64).to_string();
        let failed = |e| Error::io("cannot write the archive of an image", e);
        let file = tempfile::Builder::new().prefix("image-").tempfile_in(scratch).map_err(failed)?;
        let mut to = Builder::new(BufWriter::new(file.as_file()));
        let fixed = [
            ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.as_slice()),
            ("index.json".to_owned(), index.as_bytes()),
            (blob(&manifest_digest), manifest.as_bytes()),
            (blob(&config_digest), config.as_slice()),
        ];
        for (name, content) in fixed {
            append(&mut to, &name, content.len() as u64, content).map_err(failed)?;
        }
        for layer in layers {
            let (name, size) = (blob(layer.digest()), layer.size());
            let mut content = layer.into_file();
            content.seek(SeekFrom::Start(0)).map_err(failed)?;
            append(&mut to, &name, size, content.take(size)).map_err(failed)?;
        }
        to.into_inner().and_then(|mut to| to.flush()).map_err(failed)?;
        Ok(file)
    }
}

/// The generated files as a layer; nothing where there are none.
fn generated(rootfs: &Rootfs) -> Result<Vec<u8>> {
    if rootfs.files.is_empty() {
        return Ok(Vec::new());
    }
    let mut layer = Builder::new(Vec::new());
    for file in &rootfs.files {
        let mut header = header(EntryType::Regular, file.mode & 0o7777, file.content.len() as u64);
        layer.append_data(&mut header, file.target.relative(), file.content.as_slice()).map_err(|e| {
            Error::invalid(format!("cannot put '{}' into an image", file.target)).with_source(e)
        })?;
    }
    layer.into_inner().map_err(|e| Error::internal("cannot end an archive").with_source(e))
}

fn index(name: &str, manifest: &Digest, size: u64) -> Value {
    let annotations: serde_json::Map<String, Value> =
        NAMED.iter().map(|key| ((*key).to_owned(), name.into())).collect();
    let mut entry = descriptor(MANIFEST, manifest, size);
    entry["annotations"] = annotations.into();
    entry["platform"] = json!({ "architecture": bundle::architecture(), "os": "linux" });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] })
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({ "mediaType": media_type, "digest": digest.as_str(), "size": size })
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn append(to: &mut Builder<impl Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    to.append_data(&mut header(EntryType::Regular, 0o644, size), name, content)
}

/// The label by which an image of ours is known; its value is [`Layout::hash`].
pub(crate) const IMAGE_LABEL: &str = LABEL;
/// What the names of all images of ours begin with.
pub(crate) const IMAGE_NAME: &str = NAME;

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
