//! `agentkernel.toml`: its keys and what each may say.
//!
//! To add a key: one word in [`KEYS`], one field of [`Config`], one line in [`Config::parse`].

use crate::{
    languages,
    section::{Section, check_top},
    source::Source,
};
use agentkernel_model::{
    Error, Kind, Result,
    image::ImageRef,
    name::SandboxName,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    size::{ByteSize, Cpus},
    suggest,
    text::printable,
};
use std::str::FromStr;
use toml::de::DeTable;

/// Every key, as `table.key`, tables together.
const KEYS: [&str; 10] = [
    "sandbox.name",
    "sandbox.base_image",
    "sandbox.runtime",
    "agent.preferred",
    "resources.vcpus",
    "resources.memory_mb",
    "network.ports",
    "security.profile",
    "security.network",
    "security.mount_cwd",
];

/// The longest configuration that is read, in bytes.
pub const MAX_LEN: usize = 1024 * 1024;

/// What a file says. A field is `None` (or empty) when its key is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub name: Option<SandboxName>,
    /// `sandbox.base_image`, else the image of `sandbox.runtime`.
    pub image: Option<ImageRef>,
    pub agent: Option<Agent>,
    pub cpus: Option<Cpus>,
    pub memory: Option<ByteSize>,
    pub ports: Vec<PublishedPort>,
    pub profile: Option<Profile>,
    pub network: Option<NetworkSwitch>,
    /// Whether the project's directory is mounted writable at `/workspace`.
    pub mount_cwd: Option<bool>,
}

impl Config {
    /// Reads `text`, which error messages call `name`.
    ///
    /// # Errors
    /// [`Kind::Config`] with file, line and column for broken TOML, unknown keys and values of the wrong type or out
    /// of range, and for a text longer than [`MAX_LEN`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > MAX_LEN {
            return Err(Error::new(Kind::Config, format!("{} is longer than 1 MiB", printable(name)))
                .with_hint("is it really a configuration of agentkernel?"));
        }
        let source = Source { name, text };
        let root = DeTable::parse(text).map_err(|e| {
            // The parser's messages may run over several lines and quote the text.
            let what = printable(e.message().lines().next().unwrap_or("not TOML"));
            source
                .error(e.span().unwrap_or(0..0), what)
                .with_hint("see https://toml.io for how TOML is written")
        })?;
        let root = root.get_ref();
        check_top(source, root, &KEYS)?;
        let section = |name| Section::open(source, root, name, &KEYS);
        let sandbox = section("sandbox")?;
        let agent = section("agent")?;
        let resources = section("resources")?;
        let network = section("network")?;
        let security = section("security")?;
        let runtime = sandbox.parsed::<Runtime>("runtime")?;
        Ok(Self {
            name: sandbox.parsed("name")?,
            image: sandbox.parsed("base_image")?.or_else(|| runtime.map(|r| r.0)),
            agent: agent.parsed("preferred")?,
            cpus: resources.integer("vcpus", 1..=1024)?.map(|n| Cpus::from_milli(n * 1000)),
            memory: resources.integer("memory_mb", 4..=16 * 1024 * 1024)?.map(ByteSize::from_mib),
            ports: network.list("ports")?,
            profile: security.parsed("profile")?,
            network: security.boolean("network")?.map(|on| match on {
                true => NetworkSwitch::On,
                false => NetworkSwitch::Off,
            }),
            mount_cwd: security.boolean("mount_cwd")?,
        })
    }
}

/// A coding agent that a project prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Claude,
    Gemini,
    Codex,
    OpenCode,
}

impl Agent {
    pub const NAMES: [&'static str; 4] = ["claude", "gemini", "codex", "opencode"];
}

impl FromStr for Agent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "claude" => Ok(Self::Claude),
            "gemini" => Ok(Self::Gemini),
            "codex" => Ok(Self::Codex),
            "opencode" => Ok(Self::OpenCode),
            _ => Err(Error::invalid(format!("'{}' is not an agent", printable(text)))
                .with_hint(suggest::hint(text, &Self::NAMES))),
        }
    }
}

/// The image that a `sandbox.runtime` stands for.
struct Runtime(ImageRef);

impl FromStr for Runtime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match languages::runtime_image(text) {
            Some(image) => image.parse().map(Self),
            None => Err(Error::invalid(format!("'{}' is not a runtime", printable(text)))
                .with_hint(suggest::hint(text, &languages::RUNTIMES))),
        }
    }
}
