//! `agentkernel.toml`: what it may say, as values.

use crate::{
    account::Account,
    author::GitIdentity,
    bound::LONGEST_SCRIPT,
    build::Build,
    document::Document,
    entry::{self, FileBody, FileEntry},
    key::SECCOMP,
    languages::Runtime,
    mode::Mode,
    secrets,
    section::Section,
    source::Source,
    template::TemplateInfo,
    workspace::{MountRequest, WorkspaceRequest},
};
use agentkernel_model::{
    Error, Kind, Result,
    agent::Agent,
    command::EnvVar,
    egress::{EgressRule, Verdict},
    guard::GuardedName,
    image::ImageRef,
    name::{Label, SandboxName},
    path::GuestPath,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    runtime::RuntimeName,
    seccomp::SeccompLevel,
    secret::{SecretGrant, SecretName},
    size::{ByteSize, Cpus, parse_duration},
    spec::Isolation,
    suggest,
    text::printable,
};
use std::{collections::HashSet, time::Duration};
use toml::de::DeTable;

/// The longest configuration that is read, in bytes: room for all files that a sandbox may have, as base64.
pub const MAX_LEN: usize = 4 * 1024 * 1024;

/// Less is not enough for a shell to start.
const LEAST_MEMORY: ByteSize = ByteSize::from_mib(4);

/// What a file says. A field is `None` (or empty) when its key is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub name: Option<SandboxName>,
    pub description: Option<String>,
    /// `sandbox.base_image`, else the image of `sandbox.runtime`.
    pub image: Option<ImageRef>,
    /// Run with `sh -c` inside, as root there, once before the first command.
    pub init_script: Option<String>,
    pub user: Option<Account>,
    pub workdir: Option<GuestPath>,
    /// The name of a backend; whether there is one of that name is not known here.
    pub backend: Option<String>,
    pub isolation: Option<Isolation>,
    /// Not `sandbox.runtime`, which is a language.
    pub oci_runtime: Option<RuntimeName>,
    /// Zero is "for ever".
    pub ttl: Option<Duration>,
    pub labels: Vec<Label>,
    /// `[environment]`, in the order in which it stands; no key twice.
    pub env: Vec<EnvVar>,
    /// The one that is preferred.
    pub agent: Option<Agent>,
    /// `agent.compatibility_mode`.
    pub mode: Option<Mode>,
    pub git: Option<GitIdentity>,
    pub cpus: Option<Cpus>,
    /// `resources.memory_mb` or `resources.memory`.
    pub memory: Option<ByteSize>,
    pub pids: Option<u32>,
    pub ports: Vec<PublishedPort>,
    /// `network.rules`; [`Config::egress`] is all rules in order.
    pub rules: Vec<EgressRule>,
    pub domains: Domains,
    pub profile: Option<Profile>,
    pub network: Option<NetworkSwitch>,
    /// Whether the project's directory is mounted writable at `/workspace`.
    pub mount_cwd: Option<bool>,
    pub seccomp: Option<SeccompLevel>,
    pub allow_write: Vec<GuardedName>,
    /// `[secrets]`: each of a vault.
    pub secrets: Vec<SecretGrant>,
    pub secret_files: Vec<SecretName>,
    pub workspace: WorkspaceRequest,
    pub mounts: Vec<MountRequest>,
    pub files: Vec<FileEntry>,
    pub build: Build,
    pub template: TemplateInfo,
    /// The lists that are written and empty, such as `network.ports`: they replace those of a template.
    pub emptied: Vec<&'static str>,
    /// Sections that configure parts which this version lacks: well formed, and without effect.
    pub unused: Vec<String>,
    /// Keys in those sections that hold a credential in clear.
    pub credentials: Vec<String>,
}

/// `[security.domains]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Domains {
    pub allow: Vec<EgressRule>,
    pub block: Vec<EgressRule>,
    pub allowlist_only: Option<bool>,
}

impl Config {
    /// Every rule about connections, in the order in which they are asked: what blocks, `network.rules`, what allows.
    #[must_use]
    pub fn egress(&self) -> Vec<EgressRule> {
        [&self.domains.block[..], &self.rules, &self.domains.allow].concat()
    }

    /// Reads `text`, which error messages call `name`.
    ///
    /// # Errors
    /// [`Kind::Config`] with file, line and column for broken TOML, unknown keys and values of the wrong type or out
    /// of range, and for a text longer than [`MAX_LEN`]. [`Kind::Unsupported`], with the same place, for what this
    /// version knows and cannot enforce.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        if text.len() > MAX_LEN {
            return Err(Error::new(Kind::Config, format!("{} is longer than 4 MiB", printable(name)))
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
        let document = Document::new(source, root.get_ref())?;
        let mut config = Self::default();
        config.read_sandbox(&document.section("sandbox")?)?;
        config.env = document.map("environment", EnvVar::new)?;
        config.secrets = secrets::read(source, &Section::top(source, root.get_ref()))?;
        config.read_agent(&document.section("agent")?)?;
        config.read_resources(&document.section("resources")?)?;
        config.read_security(&document.section("security")?)?;
        let network = document.section("network")?;
        config.ports = config.listed("network.ports", network.list("ports")?);
        config.rules = config.listed("network.rules", network.list("rules")?);
        config.workspace = WorkspaceRequest::read(&document.section("workspace")?)?;
        config.read_lists(&document)?;
        config.build = Build::read(&document.section("build")?)?;
        config.template = TemplateInfo::read(&document.section("template")?)?;
        document.section("git")?;
        let unused = document.unused()?;
        (config.unused, config.credentials) = (unused.sections, unused.credentials);
        Ok(config)
    }

    fn read_sandbox(&mut self, sandbox: &Section<'_>) -> Result<()> {
        self.name = sandbox.parsed("name")?;
        self.description = sandbox.text_within("description", 1024)?;
        let runtime = sandbox.parsed::<Runtime>("runtime")?;
        self.image = sandbox.parsed("base_image")?.or_else(|| runtime.map(Runtime::into_image));
        self.init_script = sandbox.text_within("init_script", LONGEST_SCRIPT)?;
        self.user = sandbox.text_or_number("user", str::parse)?;
        self.workdir = sandbox.parsed("workdir")?;
        self.backend = sandbox.text("backend", backend)?;
        self.isolation = sandbox.text("isolation", isolation)?;
        self.oci_runtime = sandbox.parsed("oci_runtime")?;
        self.ttl = sandbox.text_or_number("ttl", parse_duration)?;
        self.labels = sandbox.map("labels", Label::new)?;
        Ok(())
    }

    fn read_agent(&mut self, agent: &Section<'_>) -> Result<()> {
        self.agent = agent.parsed("preferred")?;
        self.mode = agent.parsed("compatibility_mode")?;
        let part = |key, what: &str| {
            agent.text(key, |text| GitIdentity::check(what, text).map(|()| text.to_owned()))
        };
        self.git = match (part("git_name", "a name")?, part("git_email", "an address")?) {
            (Some(name), Some(email)) => Some(GitIdentity::new(&name, &email)?),
            (None, None) => None,
            (Some(_), None) => return Err(half_identity(agent, "git_name", "git_email")),
            (None, Some(_)) => return Err(half_identity(agent, "git_email", "git_name")),
        };
        Ok(())
    }

    fn read_resources(&mut self, resources: &Section<'_>) -> Result<()> {
        self.cpus = resources.number("vcpus")?;
        let whole = resources.integer("memory_mb")?.map(ByteSize::from_mib);
        let size = resources.text("memory", memory)?;
        if whole.is_some() && size.is_some() {
            return Err(resources
                .error_at("memory", "'resources.memory' and 'resources.memory_mb' say the same thing")
                .with_hint("leave one of them out"));
        }
        self.memory = size.or(whole);
        self.pids = resources.integer("pids")?;
        Ok(())
    }

    fn read_security(&mut self, security: &Section<'_>) -> Result<()> {
        self.profile = security.parsed("profile")?;
        self.network = security.boolean("network")?.map(|on| match on {
            true => NetworkSwitch::On,
            false => NetworkSwitch::Off,
        });
        self.mount_cwd = security.boolean("mount_cwd")?;
        self.seccomp = security.text("seccomp", seccomp)?;
        let allow_write = security.list("allow_write")?;
        self.allow_write = self.listed("security.allow_write", allow_write);
        let secret_files = security.list("secret_files")?;
        self.secret_files = self.listed("security.secret_files", secret_files);
        let domains = security.section("domains", "security.domains")?;
        let rules = |key, verdict| domains.list_of(key, |text| EgressRule::parse(verdict, text));
        let (allow, block) = (rules("allow", Verdict::Allow)?, rules("block", Verdict::Deny)?);
        self.domains = Domains {
            allow: self.listed("security.domains.allow", allow),
            block: self.listed("security.domains.block", block),
            allowlist_only: domains.boolean("allowlist_only")?,
        };
        Ok(())
    }

    fn read_lists(&mut self, document: &Document<'_>) -> Result<()> {
        let mounts = each(document, "mounts", "target", MountRequest::read, MountRequest::target)?;
        self.mounts = self.listed("mounts", mounts);
        let files = each(document, "files", "dest", FileEntry::read, FileEntry::dest)?;
        self.files = self.listed("files", files);
        entry::check_total(self.files.iter().filter_map(|file| match file.body() {
            FileBody::Content(bytes) => Some(bytes.as_slice()),
            FileBody::Source(_) => None,
        }))
    }

    /// The list, and a note when it is written and empty.
    fn listed<T>(&mut self, key: &'static str, list: Option<Vec<T>>) -> Vec<T> {
        if list.as_ref().is_some_and(Vec::is_empty) {
            self.emptied.push(key);
        }
        list.unwrap_or_default()
    }
}

/// Each `[[table]]`, of which no two may have one `place` inside.
fn each<T>(
    document: &Document<'_>,
    table: &'static str,
    place: &str,
    read: impl Fn(&Section<'_>) -> Result<T>,
    place_of: impl Fn(&T) -> &GuestPath,
) -> Result<Option<Vec<T>>> {
    let Some(sections) = document.list(table)? else { return Ok(None) };
    let mut seen = HashSet::new();
    let mut all = Vec::with_capacity(sections.len());
    for section in &sections {
        let one = read(section)?;
        let path = place_of(&one);
        if !seen.insert(path.clone()) {
            return Err(section
                .error_at(place, format!("'{table}.{place}': there are two for '{path}'"))
                .with_hint("take one of them out"));
        }
        all.push(one);
    }
    Ok(Some(all))
}

fn half_identity(agent: &Section<'_>, there: &str, missing: &str) -> Error {
    agent
        .error_at(there, format!("'agent.{there}' is there without 'agent.{missing}'"))
        .with_hint("write both, or neither")
}

fn backend(text: &str) -> Result<String> {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=32).contains(&text.len()) && text.bytes().all(word) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid(format!("'{}' is not the name of a backend", printable(text)))
        .with_hint("'agentkernel doctor' names them"))
}

fn isolation(text: &str) -> Result<Isolation> {
    match text {
        "any" => Ok(Isolation::Any),
        "vm" => Ok(Isolation::Vm),
        _ => Err(Error::invalid(format!("'{}' is not a kind of isolation", printable(text)))
            .with_hint(suggest::hint(text, &crate::key::ISOLATIONS))),
    }
}

fn memory(text: &str) -> Result<ByteSize> {
    let size: ByteSize = text.parse()?;
    if size < LEAST_MEMORY {
        return Err(Error::invalid(format!("a memory limit of {size} is too small for any command"))
            .with_hint(format!("write {LEAST_MEMORY} or more")));
    }
    Ok(size)
}

fn seccomp(text: &str) -> Result<SeccompLevel> {
    match text {
        "moderate" => Ok(SeccompLevel::Moderate),
        "restrictive" => Ok(SeccompLevel::Restrictive),
        _ if text.contains(['/', '.']) => {
            let shown = printable(text);
            Err(Error::new(
                Kind::Unsupported,
                format!("'{shown}' is a file, and lists of system calls are built in"),
            )
            .with_hint(format!("one of: {}", SECCOMP.join(", "))))
        }
        _ => Err(Error::invalid(format!("'{}' is not a list of system calls", printable(text)))
            .with_hint(suggest::hint(text, &SECCOMP))),
    }
}
