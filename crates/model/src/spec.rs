//! The resolved description of one sandbox: what every flag, file and default came to.

use crate::{
    command::{EnvVar, User},
    image::ImageRef,
    mount::Workspace,
    path::GuestPath,
    policy::EffectivePolicy,
    port::PublishedPort,
    runtime::RuntimeName,
};
use serde::{Deserialize, Serialize};

/// A sandbox before any backend has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    pub image: ImageRef,
    pub workspace: Workspace,
    /// The environment of every command, on top of the image's.
    pub env: Vec<EnvVar>,
    /// `None`: `/workspace` where there is one, else `/`.
    pub workdir: Option<GuestPath>,
    /// `None`: the image's user; root inside for `host`.
    pub user: Option<User>,
    pub ports: Vec<PublishedPort>,
    pub policy: EffectivePolicy,
    pub isolation: Isolation,
    pub lifetime: Lifetime,
    /// Small files that are there before the first command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SpecFile>,
    /// Run with `sh -c` inside, as root there, once before the first command; when it fails there is no sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_script: Option<String>,
    /// The OCI runtime that an engine starts it with. `None`: the engine's own choice. Left out of the text then, so that
    /// records of before read the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeName>,
}

/// The least isolation that the caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Whatever the best backend offers.
    #[default]
    Any,
    /// A kernel of the sandbox's own.
    Vm,
}

/// How long the sandbox is meant to live; lets a backend choose the cheapest storage that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Gone with its one command.
    Ephemeral,
    /// Its disk survives a stop.
    Named,
}

/// A file that a configuration puts inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecFile {
    pub target: GuestPath,
    /// Permission bits, at most 0o777.
    pub mode: u32,
    #[serde(with = "base64_text")]
    pub content: Vec<u8>,
}

impl SpecFile {
    /// The most bytes of all files of one sandbox together: they are kept in its record.
    pub const MAX_TOTAL: usize = 1024 * 1024;
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;

/// Bytes as base64 (RFC 4648) text.
mod base64_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
