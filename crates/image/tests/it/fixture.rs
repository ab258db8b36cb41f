//! Images made by hand, a registry that has them, and stores to pull them into.

use crate::server::{Reply, Request, Server};
use agentkernel_image::{Images, Patience, PullOptions};
use agentkernel_model::image::{Digest, Reference};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    Digest::of_sha256(&Sha256::digest(bytes).into()).to_string()
}

/// A tar archive of files, by name.
pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// An image as it is distributed: every blob by its digest, and the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) manifest: Value,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Picture {
    /// Of layers, lowest first, as they are distributed and as they unpack.
    pub(crate) fn new(layers: &[(Vec<u8>, Vec<u8>)], execution: Value) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|(_, unpacked)| digest(unpacked)).collect();
        let config = json!({
            "os": "linux", "architecture": architecture(), "created": "2024-01-02T03:04:05Z",
            "config": execution, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let packed: Vec<Vec<u8>> = layers.iter().map(|(packed, _)| packed.clone()).collect();
        Self::of_parts(&config, &packed)
    }

    pub(crate) fn of_parts(config: &Value, layers: &[Vec<u8>]) -> Self {
        let config = config.to_string().into_bytes();
        let mut blobs: BTreeMap<_, _> = layers.iter().map(|layer| (digest(layer), layer.clone())).collect();
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(layer),
                       "size": layer.len()})
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": described,
            "config": {"mediaType": OCI_CONFIG, "digest": digest(&config), "size": config.len()},
        });
        blobs.insert(digest(&config), config);
        Self { manifest, blobs }
    }

    /// One small layer.
    pub(crate) fn small(content: &str) -> Self {
        let layer = tar(&[("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), ("file", content)]);
        Self::new(&[(gzip(&layer), layer)], json!({}))
    }

    /// One layer of `size` bytes that do not compress, so that a download can be cut.
    pub(crate) fn large(size: usize) -> Self {
        let layer = tar(&[("noise", &noise(size))]);
        Self::new(&[(layer.clone(), layer)], json!({}))
    }

    /// The digest of a layer as it is distributed.
    pub(crate) fn layer(&self, number: usize) -> String {
        self.manifest["layers"][number]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> String {
        self.manifest["config"]["digest"].as_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        self.manifest.to_string().into_bytes()
    }

    /// The answer to `request` by a well-behaved registry that has it under every tag.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let path = request.path.as_str();
        if path == "/v2/" {
            return Reply::ok("{}");
        }
        let Some((_, name)) = path.rsplit_once('/') else { return Reply::status(404) };
        if path.contains("/manifests/") {
            let text = self.text();
            let asked_for_other = name.starts_with("sha256:") && name != digest(&text);
            if asked_for_other {
                return Reply::status(404);
            }
            return Reply::ok(text).header("content-type", OCI_MANIFEST);
        }
        match self.blobs.get(name) {
            Some(blob) => match request.from() {
                Some(from) => Reply::with(206, &blob[from..])
                    .header("content-range", format!("bytes {from}-{}/{}", blob.len() - 1, blob.len())),
                None => Reply::ok(blob.clone()),
            },
            None => Reply::with(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"\u001b[31m"}]}"#),
        }
    }

    pub(crate) fn serve(&self) -> Server {
        let this = self.clone();
        Server::new(move |request| this.answer(request))
    }

    /// As [`Picture::serve`], but for what `special` answers.
    pub(crate) fn serve_but(
        &self,
        special: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        let this = self.clone();
        Server::new(move |request| special(request).unwrap_or_else(|| this.answer(request)))
    }
}

/// Bytes that look random, of letters.
pub(crate) fn noise(size: usize) -> String {
    let mut state = 1_u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..size).map(letter).collect()
}

pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A store of its own.
pub(crate) struct Store {
    pub(crate) dir: TempDir,
    pub(crate) images: Arc<Images>,
}

impl Store {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::new(dir.path().join("images"), rustix::process::geteuid().as_raw());
        Self { dir, images: Arc::new(images) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("images")
    }

    /// The names in a directory of the store.
    pub(crate) fn names(&self, dir: &str) -> Vec<String> {
        names(&self.path().join(dir))
    }

    /// Nothing of a failed pull is visible or kept.
    pub(crate) fn assert_nothing_kept(&self) {
        for dir in ["names", "images", "manifests", "configs", "layers", "partial"] {
            assert_eq!(self.names(dir), Vec::<String>::new(), "{dir}");
        }
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Options that make no test wait for long.
pub(crate) fn options() -> PullOptions {
    let patience = Patience {
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(10),
        idle: Duration::from_secs(10),
        backoff: Duration::from_millis(2),
        helper: Duration::from_secs(5),
    };
    PullOptions { patience, ..PullOptions::default() }
}

pub(crate) fn reference(server: &Server) -> Reference {
    format!("{}/test/image:1", server.host()).parse().unwrap()
}
