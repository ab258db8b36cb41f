//! An image as an engine loads it: the archive of `docker save`, which Docker and Podman both read.

use super::{
    blocking,
    packed::PackedLayer,
    recipe::{Mark, digest},
};
use agentkernel_model::{Error, Result};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt as _, sync::Arc};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Bytes that are read and sent at once.
const CHUNK: u64 = 512 << 10;

#[derive(Debug)]
pub(super) struct Bundle {
    parts: VecDeque<Part>,
    size: u64,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    File(Arc<File>, u64),
}

impl Bundle {
    /// The image `name` of layers, lowest first. It says nothing of commands, users or variables: the caller has all
    /// that for each container.
    pub(super) fn new(name: &str, (mark, layers): (Mark, Vec<PackedLayer>)) -> Result<Self> {
        let config = config(&mark, &layers);
        let config_name = format!("{}.json", digest(&config).hex());
        let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}/layer.tar")).collect();
        let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]);
        let mut bundle = Self { parts: VecDeque::new(), size: 0 };
        bundle.bytes("manifest.json", manifest.to_string().into_bytes())?;
        bundle.bytes(&config_name, config)?;
        for (name, layer) in names.iter().zip(layers) {
            bundle.layer(name, layer)?;
        }
        bundle.push(Part::Bytes(vec![0; 2 * BLOCK]));
        Ok(bundle)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn bytes(&mut self, name: &str, content: Vec<u8>) -> Result<()> {
        let size = content.len() as u64;
        self.push(Part::Bytes(header(name, size)?));
        self.push(Part::Bytes(content));
        self.pad(size);
        Ok(())
    }

    fn layer(&mut self, name: &str, layer: PackedLayer) -> Result<()> {
        let size = layer.size();
        self.push(Part::Bytes(header(name, size)?));
        self.push(Part::File(Arc::new(layer.into_file()), size));
        self.pad(size);
        Ok(())
    }

    fn pad(&mut self, size: u64) {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        self.push(Part::Bytes(vec![0; (BLOCK - over) % BLOCK]));
    }

    fn push(&mut self, part: Part) {
        self.size += match &part {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::File(_, size) => *size,
        };
        self.parts.push_back(part);
    }

    /// All of it, a piece at a time: layers are read as they are sent.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self.parts, 0), |(mut parts, at)| async move {
            match parts.pop_front() {
                None => Ok(None),
                Some(Part::Bytes(bytes)) => Ok(Some((bytes.into(), (parts, 0)))),
                Some(Part::File(file, size)) => {
                    let length = (size - at).min(CHUNK);
                    let chunk = read(&file, at, length).await?;
                    let next = at + length;
                    if next < size {
                        parts.push_front(Part::File(file, size));
                    }
                    Ok(Some((chunk, (parts, if next < size { next } else { 0 }))))
                }
            }
        })
    }
}

async fn read(file: &Arc<File>, at: u64, length: u64) -> io::Result<Bytes> {
    let file = Arc::clone(file);
    let read = blocking(move || {
        let mut chunk = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file.read_exact_at(&mut chunk, at);
        read.map_err(|e| Error::io("cannot read a packed layer", e))?;
        Ok(Bytes::from(chunk))
    });
    read.await.map_err(io::Error::other)
}

/// The configuration of an image, always the same for the same layers: its digest is the image's id.
pub(super) fn config(mark: &Mark, layers: &[PackedLayer]) -> Vec<u8> {
    const CREATED: &str = "1970-01-01T00:00:00Z";
    let history: Vec<_> =
        layers.iter().map(|_| json!({ "created": CREATED, "created_by": "agentkernel" })).collect();
    let digests: Vec<&str> = layers.iter().map(|layer| layer.digest().as_str()).collect();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": CREATED,
        "config": { "Labels": mark.labels() },
        "rootfs": { "type": "layers", "diff_ids": digests },
        "history": history,
    });
    config.to_string().into_bytes()
}

/// This machine's, as images call it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn header(name: &str, size: u64) -> Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    let named = header.set_path(name);
    named.map_err(|e| Error::internal("cannot name a file of an image").with_source(e))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
