//! An image as a registry holds it: documents that name each other by digest, and blobs.

use super::{config::ImageConfig, layer::Layer};
use agentkernel_model::image::{Digest, Reference};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Image {
    pub(super) reference: Reference,
    /// What the reference names.
    pub(super) root: Document,
    /// The manifests that an index names.
    pub(super) children: Vec<Document>,
    pub(super) blobs: Vec<Blob>,
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// A configuration or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) content: Content,
}

/// Where the bytes of a blob are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Memory(Vec<u8>),
    File(PathBuf),
}

impl Image {
    /// An image of `layers`, lowest first, for this machine's platform; its reference names its manifest directly.
    #[must_use]
    pub fn new(reference: Reference, config: &ImageConfig, layers: &[Layer]) -> Self {
        Self::of_architecture(reference, config, layers, architecture())
    }

    /// The same for another architecture, by its name in the OCI image specification.
    #[must_use]
    pub fn of_architecture(
        reference: Reference,
        config: &ImageConfig,
        layers: &[Layer],
        architecture: &str,
    ) -> Self {
        let config = Blob::in_memory(config.document(layers, architecture));
        let root = manifest(&config, CONFIG, layers);
        let mut blobs = vec![config];
        blobs.extend(layers.iter().map(Blob::of_layer));
        Self { reference, root, children: Vec::new(), blobs }
    }

    /// Puts an index before the manifest, with an attestation beside it: what registries serve for well-known images.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let statement = Blob::in_memory(b"{}".to_vec());
        let attestation = manifest(&statement, "application/vnd.in-toto+json", &[]);
        let entry = |document: &Document, platform: Value| {
            json!({
                "mediaType": MANIFEST,
                "digest": document.digest(),
                "size": document.bytes.len(),
                "platform": platform,
            })
        };
        let unknown = json!({"architecture": "unknown", "os": "unknown"});
        let own = json!({"architecture": architecture(), "os": "linux"});
        // First, so that whoever takes the first entry takes the wrong one.
        let manifests = [entry(&attestation, unknown), entry(&self.root, own)];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let index = Document { media_type: INDEX.to_owned(), bytes: index.to_string().into_bytes() };
        self.children = vec![attestation, std::mem::replace(&mut self.root, index)];
        self.blobs.push(statement);
        self
    }

    #[must_use]
    pub const fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What the reference names.
    #[must_use]
    pub const fn root(&self) -> &Document {
        &self.root
    }

    /// The manifests that an index names; empty for an image without one.
    #[must_use]
    pub fn children(&self) -> &[Document] {
        &self.children
    }

    #[must_use]
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// The same content under another name.
    #[must_use]
    pub fn named(&self, reference: Reference) -> Self {
        Self { reference, ..self.clone() }
    }
}

/// This machine's architecture in the words of the OCI image specification.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn manifest(config: &Blob, config_type: &str, layers: &[Layer]) -> Document {
    let layer = |layer: &Layer| json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": config_type, "digest": config.digest, "size": config.size},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    Document { media_type: MANIFEST.to_owned(), bytes: manifest.to_string().into_bytes() }
}

impl Document {
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(&self.bytes)
    }
}

impl Blob {
    pub(super) fn in_memory(bytes: Vec<u8>) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { digest: digest_of(&bytes), size, content: Content::Memory(bytes) }
    }

    pub(super) fn of_layer(layer: &Layer) -> Self {
        Self { digest: layer.digest.clone(), size: layer.size, content: Content::File(layer.path.clone()) }
    }

    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }
}

pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    Digest::of_sha256(&Sha256::digest(bytes).into())
}
