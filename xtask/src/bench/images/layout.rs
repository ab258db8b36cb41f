//! Images as OCI layouts, made with `tar`, `gzip` and `sha256sum`.

use crate::{Outcome, bench::command::quiet};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A layout that is being made, of one image.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    blob: Blob,
    /// Hexadecimal, as all digests here.
    diff_id: String,
}

#[derive(Debug)]
struct Blob {
    digest: String,
    bytes: u64,
}

impl Layout {
    pub(super) fn new(dir: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(dir.join("blobs/sha256"))?;
        Ok(Self { dir, layers: Vec::new() })
    }

    /// Where [`Self::add_layer`] expects the next archive.
    pub(super) fn archive(&self) -> PathBuf {
        self.dir.join("layer.tar")
    }

    /// Compresses the archive, as `docker build` and `buildah` do unless told otherwise: by gzip.
    pub(super) fn add_layer(&mut self) -> Outcome<()> {
        let archive = self.archive();
        let diff_id = digest(&archive)?;
        quiet(Command::new("gzip").args(["-6", "-n"]).arg(&archive), &self.dir.join("log"))?;
        let blob = self.keep(&self.dir.join("layer.tar.gz"))?;
        self.layers.push(Layer { blob, diff_id });
        Ok(())
    }

    /// Writes what remains when all layers are there.
    pub(super) fn finish(&self) -> Outcome<()> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let diff_ids = self.layers.iter().map(|layer| format!("sha256:{}", layer.diff_id));
        let config = self.keep_json(&json!({
            "architecture": architecture, "os": "linux",
            "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()},
        }))?;
        let layers = self.layers.iter().map(|layer| layer.blob.descriptor(LAYER));
        let manifest = self.keep_json(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(CONFIG),
            "layers": layers.collect::<Vec<_>>(),
        }))?;
        let index = json!({"schemaVersion": 2, "manifests": [manifest.descriptor(MANIFEST)]});
        fs::write(self.dir.join("index.json"), index.to_string())?;
        fs::write(self.dir.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The digests of what is fetched, lowest layer first.
    pub(super) fn blobs(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.blob.digest.clone()).collect()
    }

    /// Bytes of what is fetched.
    pub(super) fn compressed(&self) -> u64 {
        self.layers.iter().map(|layer| layer.blob.bytes).sum()
    }

    fn keep_json(&self, value: &Value) -> Outcome<Blob> {
        let path = self.dir.join("value.json");
        fs::write(&path, value.to_string())?;
        self.keep(&path)
    }

    fn keep(&self, file: &Path) -> Outcome<Blob> {
        let (digest, bytes) = (digest(file)?, file.metadata()?.len());
        fs::rename(file, self.dir.join("blobs/sha256").join(&digest))?;
        Ok(Blob { digest, bytes })
    }
}

impl Blob {
    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.bytes})
    }
}

fn digest(file: &Path) -> Outcome<String> {
    let output = Command::new("sha256sum").arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let digest = said.split_whitespace().next().filter(|word| word.len() == 64);
    Ok(digest.ok_or_else(|| format!("sha256sum told no digest of {}", file.display()))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_names_blobs_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::new(dir.path().join("image")).unwrap();
        fs::write(layout.archive(), vec![0; 10240]).unwrap();
        layout.add_layer().unwrap();
        layout.finish().unwrap();
        let read = |path: &str| -> Value {
            serde_json::from_slice(&fs::read(layout.dir().join(path)).unwrap()).unwrap()
        };
        let blob =
            |of: &Value| format!("blobs/sha256/{}", &of["digest"].as_str().unwrap()["sha256:".len()..]);
        let manifest = read(&blob(&read("index.json")["manifests"][0]));
        // What `head -c 10240 /dev/zero | sha256sum` says.
        let zeros = "sha256:84ff92691f909a05b224e1c56abb4864f01b4f8e3c854e4bb4c7baf1d3f6d652";
        assert_eq!(read(&blob(&manifest["config"]))["rootfs"]["diff_ids"], json!([zeros]));
        let layer = layout.dir().join(blob(&manifest["layers"][0]));
        assert_eq!(layer.metadata().unwrap().len(), manifest["layers"][0]["size"].as_u64().unwrap());
        assert_eq!(layout.compressed(), layer.metadata().unwrap().len());
    }
}
