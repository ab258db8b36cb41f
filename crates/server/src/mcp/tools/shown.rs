//! Sandboxes as agents see them.

use agentkernel_engine::request::{SandboxInfo, Status};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A named sandbox.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sandbox {
    name: String,
    uuid: String,
    /// `running`, `stopped` or `unknown`.
    status: &'static str,
    /// Why it is stopped or unknown, when nobody stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    backend: String,
    image: String,
    /// RFC 3339, UTC.
    created_at: String,
    /// When it is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// As HOST:SANDBOX.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl From<SandboxInfo> for Sandbox {
    fn from(info: SandboxInfo) -> Self {
        Self {
            name: info.name.to_string(),
            uuid: info.uuid.to_string(),
            status: match info.status {
                Status::Running => "running",
                Status::Stopped => "stopped",
                Status::Unknown => "unknown",
            },
            reason: info.reason,
            backend: info.backend.to_string(),
            image: info.image,
            created_at: info.created_at,
            expires_at: info.expires_at,
            ip: info.ip,
            ports: info.ports.iter().map(ToString::to_string).collect(),
            labels: info.labels,
            description: info.description,
        }
    }
}

impl Sandbox {
    /// One line.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{} ({}, image {}, {})", self.name, self.status, self.image, self.backend);
        for (word, value) in [("expires", &self.expires_at), ("because", &self.reason)] {
            if let Some(value) = value {
                line.push_str(&format!(", {word} {value}"));
            }
        }
        if !self.ports.is_empty() {
            line.push_str(&format!(", ports {}", self.ports.join(" ")));
        }
        line
    }
}

/// All of them.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sandboxes {
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) count: usize,
}

/// One that is gone.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Removed {
    pub(super) name: String,
    pub(super) removed: bool,
}
