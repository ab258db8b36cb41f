//! The configuration of an image.

use super::layer::Layer;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What an image says about how it wants to be run; the words are those of the OCI image specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Empty means root.
    pub user: String,
    /// Empty means `/`.
    pub workdir: String,
    pub labels: BTreeMap<String, String>,
    /// Where containers of an engine get volumes.
    pub volumes: Vec<String>,
}

/// When every image was made.
const CREATED: &str = "2024-01-01T00:00:00Z";

impl ImageConfig {
    /// The document, for the platform of this machine unless `architecture` names another.
    pub(super) fn document(&self, layers: &[Layer], architecture: &str) -> Vec<u8> {
        let env: Vec<String> = self.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut config = Map::new();
        let mut put = |key: &str, value: Value, empty: bool| {
            if !empty {
                config.insert(key.to_owned(), value);
            }
        };
        put("Entrypoint", json!(self.entrypoint), self.entrypoint.is_empty());
        put("Cmd", json!(self.command), self.command.is_empty());
        put("Env", json!(env), env.is_empty());
        put("User", json!(self.user), self.user.is_empty());
        put("WorkingDir", json!(self.workdir), self.workdir.is_empty());
        put("Labels", json!(self.labels), self.labels.is_empty());
        let volumes: BTreeMap<&str, Value> =
            self.volumes.iter().map(|path| (path.as_str(), json!({}))).collect();
        put("Volumes", json!(volumes), volumes.is_empty());
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let document = json!({
            "created": CREATED,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": layers.iter().map(|_| json!({"created": CREATED})).collect::<Vec<_>>(),
        });
        document.to_string().into_bytes()
    }
}
