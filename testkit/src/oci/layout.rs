//! Directories in the OCI image layout: what `--into DIR` writes, and what is pushed from one.

use super::{
    failed,
    image::{Blob, Content, Document, INDEX, Image, MANIFEST},
};
use agentkernel_model::{
    Error, Kind, Result,
    image::{Digest, Reference},
    text::printable,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

const MARK: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
/// The reference as people write it.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The reference in full, as `docker save` writes it.
const FULL_NAME: &str = "io.containerd.image.name";
/// Bytes of a document that is read.
const MAX_DOCUMENT: u64 = 4 << 20;

/// A layout on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    directory: PathBuf,
}

/// What is read of an index, here or inside an image.
#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

/// What is read of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Layout {
    /// Writes `images` into `directory`, which is made, or is a layout already and then holds these images afterwards.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`] when something else is in the directory.
    pub fn write(directory: PathBuf, images: &[Image]) -> Result<Self> {
        let blobs = directory.join("blobs/sha256");
        let foreign = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some())
            && !directory.join(MARK).exists();
        if foreign {
            let shown = directory.display();
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("'{shown}' is not empty, and no image layout"),
            )
            .with_hint("name a directory that does not exist yet"));
        }
        fs::create_dir_all(&blobs).map_err(|e| failed("make", &blobs, e))?;
        let layout = Self { directory };
        let mut entries = Vec::new();
        for image in images {
            for blob in &image.blobs {
                layout.put(blob)?;
            }
            for document in image.children.iter().chain([&image.root]) {
                layout.put(&Blob::in_memory(document.bytes.clone()))?;
            }
            entries.push(json!({
                "mediaType": image.root.media_type,
                "digest": image.root.digest(),
                "size": image.root.bytes.len(),
                "annotations": {NAME: image.reference.to_string(), FULL_NAME: full_name(&image.reference)},
            }));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        layout.place(INDEX_FILE, index.to_string().as_bytes())?;
        layout.place(MARK, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(layout)
    }

    /// The layout in `directory`; nothing is read yet.
    #[must_use]
    pub const fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Every image that the index names by a reference.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for what is no layout, or names what it does not hold.
    pub fn images(&self) -> Result<Vec<Image>> {
        let index: Index = self.parse(&self.read(&self.directory.join(INDEX_FILE))?)?;
        let mut images = Vec::new();
        for entry in &index.manifests {
            let name = entry.annotations.get(FULL_NAME).or_else(|| entry.annotations.get(NAME));
            if let Some(name) = name {
                images.push(self.image(name.parse()?, entry)?);
            }
        }
        Ok(images)
    }

    fn image(&self, reference: Reference, entry: &Descriptor) -> Result<Image> {
        let root = self.document(entry)?;
        let mut children = Vec::new();
        if root.media_type == INDEX {
            let index: Index = self.parse(&root.bytes)?;
            for child in &index.manifests {
                children.push(self.document(child)?);
            }
        }
        let mut blobs: Vec<Blob> = Vec::new();
        for manifest in children.iter().chain([&root]).filter(|d| d.media_type == MANIFEST) {
            let manifest: Manifest = self.parse(&manifest.bytes)?;
            for part in [manifest.config].into_iter().chain(manifest.layers) {
                let content = Content::File(self.blob_path(&part.digest));
                blobs.push(Blob { digest: part.digest, size: part.size, content });
            }
        }
        Ok(Image { reference, root, children, blobs })
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let bytes = self.read(&self.blob_path(&descriptor.digest))?;
        Ok(Document { media_type: descriptor.media_type.clone(), bytes })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn put(&self, blob: &Blob) -> Result<()> {
        let path = self.blob_path(&blob.digest);
        if path.exists() {
            return Ok(());
        }
        let name = format!("blobs/sha256/{}", blob.digest.hex());
        match &blob.content {
            Content::Memory(bytes) => self.place(&name, bytes),
            // A copy, not a link: tests break images on purpose, and must not break the cache.
            Content::File(from) => {
                let new = new_name(&path);
                fs::copy(from, &new).map_err(|e| failed("write", &path, e))?;
                fs::rename(&new, &path).map_err(|e| failed("write", &path, e))
            }
        }
    }

    fn place(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.directory.join(name);
        let new = new_name(&path);
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path)).map_err(|e| failed("write", &path, e))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let size = path.metadata().map_err(|e| failed("read", path, e))?.len();
        if size > MAX_DOCUMENT {
            return Err(Error::invalid(format!(
                "'{}' is no document of an image: it is too long",
                path.display()
            )));
        }
        fs::read(path).map_err(|e| failed("read", path, e))
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|e| {
            let why = printable(&e.to_string());
            Error::invalid(format!("'{}' is no image layout: {why}", self.directory.display()))
        })
    }
}

/// Where a file is written until it is whole.
fn new_name(path: &Path) -> PathBuf {
    path.with_extension(format!("new-{}", std::process::id()))
}

fn full_name(reference: &Reference) -> String {
    let tag = reference.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    format!("{}/{}{tag}", reference.registry(), reference.repository())
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
