//! The configuration of an image (OCI image-spec, config.md), as bytes of somebody else.

use crate::{manifest::MAX_LAYERS, platform::Platform};
use agentkernel_model::{Error, Result, command::EnvVar, image::Digest, path::GuestPath, text::printable};
use serde::Deserialize;

/// The longest configuration that is read, in bytes.
pub const MAX_CONFIG: u64 = 8 << 20;
/// Words of an entrypoint or a command, and variables of an environment.
const MAX_WORDS: usize = 4096;
/// Bytes of one word: what the kernel passes to a program.
const MAX_WORD: usize = 128 * 1024 - 1;

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    pub platform: Platform,
    /// As written: RFC 3339 if its maker kept to the specification.
    pub created: Option<String>,
    pub env: Vec<EnvVar>,
    pub workdir: Option<GuestPath>,
    /// `USER` as written: `name`, `uid`, each with `:group` or without.
    pub user: Option<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    /// Digests of the unpacked layers, lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    created: Option<String>,
    config: Option<RawExecution>,
    rootfs: RawRootfs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawExecution {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Vec<String>,
}

/// Reads the configuration of an image.
///
/// # Errors
/// [`Invalid`](agentkernel_model::Kind::Invalid) for broken JSON, values that cannot be what they are for, and beyond
/// the bounds.
pub fn parse_config(bytes: &[u8]) -> Result<ImageConfig> {
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(Error::invalid("the configuration of the image is longer than 8 MiB"));
    }
    let raw: RawConfig = serde_json::from_slice(bytes).map_err(|e| {
        Error::invalid(format!("the configuration of the image is broken: {}", printable(&e.to_string())))
    })?;
    let os = raw.os.as_deref().unwrap_or_default();
    let platform =
        Platform::new(os, raw.architecture.as_deref().unwrap_or_default(), raw.variant.as_deref())?;
    let count = raw.rootfs.diff_ids.len();
    if count == 0 || count > MAX_LAYERS {
        return Err(Error::invalid(format!("the image has {count} layers, and may have 1 to {MAX_LAYERS}")));
    }
    let diff_ids = raw.rootfs.diff_ids.iter().map(|text| text.parse()).collect::<Result<_>>()?;
    let execution = raw.config.unwrap_or_default();
    let env = words("environment", execution.env)?;
    Ok(ImageConfig {
        platform,
        created: raw.created.filter(|text| is_date(text)),
        env: env.iter().map(|text| text.parse()).collect::<Result<_>>()?,
        workdir: execution
            .working_dir
            .filter(|text| !text.is_empty())
            .map(|text| workdir(&text))
            .transpose()?,
        user: execution.user.filter(|text| !text.is_empty()),
        entrypoint: words("entrypoint", execution.entrypoint)?,
        command: words("command", execution.cmd)?,
        diff_ids,
    })
}

fn words(what: &str, words: Option<Vec<String>>) -> Result<Vec<String>> {
    let words = words.unwrap_or_default();
    let fits = |word: &String| word.len() <= MAX_WORD && !word.contains('\0');
    if words.len() > MAX_WORDS || !words.iter().all(fits) {
        return Err(Error::invalid(format!("the {what} of the image is too long, or holds a NUL byte")));
    }
    Ok(words)
}

/// Docker cleans such paths when it builds an image; other builders leave that to us.
fn workdir(text: &str) -> Result<GuestPath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/")).parse()
}

/// Enough to show it.
fn is_date(text: &str) -> bool {
    (10..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b':' | b'.' | b'T' | b'Z' | b'+'))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
