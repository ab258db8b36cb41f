//! A configuration as text. What is written reads back as the same [`Config`], save for sections without effect.

use crate::{
    entry::{FileBody, FileEntry},
    file::Config,
    template::TemplateInfo,
};
use agentkernel_model::{
    egress::EgressRule, mount::Access, policy::NetworkSwitch, seccomp::SeccompLevel, size::ByteSize,
    spec::Isolation,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::time::Duration;

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// One table and its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) table: &'static str,
    /// Whether it is one of a list: `[[table]]`.
    pub(crate) listed: bool,
    pub(crate) lines: Vec<Line>,
}

impl Block {
    const fn new(table: &'static str) -> Self {
        Self { table, listed: false, lines: Vec::new() }
    }

    const fn listed(table: &'static str) -> Self {
        Self { table, listed: true, lines: Vec::new() }
    }

    fn raw(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.lines.push(Line { key: bare_or_quoted(key), value });
        }
    }

    fn text(&mut self, key: &str, value: Option<impl ToString>) {
        self.raw(key, value.map(|value| text(&value.to_string())));
    }

    fn flag(&mut self, key: &str, value: Option<bool>) {
        self.raw(key, value.map(|value| value.to_string()));
    }

    /// A list; an empty one only when `emptied` says that it was written.
    fn list(&mut self, key: &str, items: &[impl ToString], emptied: bool) {
        let shown: Vec<String> = items.iter().map(|item| text(&item.to_string())).collect();
        let written = emptied || !shown.is_empty();
        self.raw(key, written.then(|| format!("[{}]", shown.join(", "))));
    }

    fn map<'a>(&mut self, key: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) {
        let shown: Vec<String> =
            entries.map(|(key, value)| format!("{} = {}", bare_or_quoted(key), text(value))).collect();
        self.raw(key, (!shown.is_empty()).then(|| format!("{{ {} }}", shown.join(", "))));
    }

    pub(crate) fn heading(&self) -> String {
        if self.listed { format!("[[{}]]", self.table) } else { format!("[{}]", self.table) }
    }
}

/// The whole text.
pub(crate) fn render(config: &Config) -> String {
    let mut out = String::new();
    // Lists that are written and empty have no table of their own: they stand before the first one.
    for key in config.emptied.iter().filter(|key| !key.contains('.')) {
        out.push_str(key);
        out.push_str(" = []\n");
    }
    for block in blocks(config) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&block.heading());
        out.push('\n');
        for Line { key, value } in &block.lines {
            out.push_str(&format!("{key} = {value}\n"));
        }
    }
    out
}

/// Every table that has something to say, in the order of the table of keys.
pub(crate) fn blocks(config: &Config) -> Vec<Block> {
    let mut blocks = vec![
        sandbox(config),
        environment(config),
        secrets(config),
        agent(config),
        resources(config),
        network(config),
        security(config),
        domains(config),
        workspace(config),
    ];
    blocks.extend(config.mounts.iter().map(|mount| {
        let mut block = Block::listed("mounts");
        block.text("source", Some(mount.source()));
        block.text("target", Some(mount.target()));
        block.flag("read_only", (mount.access() == Access::ReadOnly).then_some(true));
        block
    }));
    blocks.extend(config.files.iter().map(file));
    blocks.push(build(config));
    blocks.push(template(&config.template));
    blocks.retain(|block| !block.lines.is_empty());
    blocks
}

fn sandbox(config: &Config) -> Block {
    let mut block = Block::new("sandbox");
    block.text("name", config.name.as_ref());
    block.text("description", config.description.as_ref());
    block.text("base_image", config.image.as_ref());
    block.text("init_script", config.init_script.as_ref());
    block.text("user", config.user.as_ref());
    block.text("workdir", config.workdir.as_ref());
    block.text("backend", config.backend.as_ref());
    block.text(
        "isolation",
        config.isolation.map(|isolation| match isolation {
            Isolation::Any => "any",
            Isolation::Vm => "vm",
        }),
    );
    block.text("oci_runtime", config.oci_runtime.as_ref());
    block.text("ttl", config.ttl.map(duration));
    block.map("labels", config.labels.iter().map(|label| (label.key.as_str(), label.value.as_str())));
    block
}

fn environment(config: &Config) -> Block {
    let mut block = Block::new("environment");
    for variable in &config.env {
        block.text(variable.key(), Some(variable.value()));
    }
    block
}

fn secrets(config: &Config) -> Block {
    let mut block = Block::new("secrets");
    for grant in &config.secrets {
        let key = grant.name.as_str();
        let part = |name: &'static str, value: Option<String>| {
            value.map(|value| format!("{name} = {}", text(&value)))
        };
        match (&grant.host, &grant.header) {
            (Some(host), None) => block.text(key, Some(host)),
            (host, header) => {
                let host = part("host", host.as_ref().map(ToString::to_string));
                let header = part("header", header.as_ref().map(ToString::to_string));
                let parts: Vec<String> = host.into_iter().chain(header).collect();
                block.raw(
                    key,
                    Some(if parts.is_empty() {
                        "{}".to_owned()
                    } else {
                        format!("{{ {} }}", parts.join(", "))
                    }),
                );
            }
        }
    }
    block
}

fn agent(config: &Config) -> Block {
    let mut block = Block::new("agent");
    block.text("preferred", config.agent);
    block.text("compatibility_mode", config.mode);
    block.text("git_name", config.git.as_ref().map(|git| git.name()));
    block.text("git_email", config.git.as_ref().map(|git| git.email()));
    block
}

fn resources(config: &Config) -> Block {
    let mut block = Block::new("resources");
    block.raw("vcpus", config.cpus.map(|cpus| cpus.to_string()));
    if let Some(memory) = config.memory {
        match mebibytes(memory) {
            Some(whole) => block.raw("memory_mb", Some(whole.to_string())),
            None => block.text("memory", Some(memory)),
        }
    }
    block.raw("pids", config.pids.map(|pids| pids.to_string()));
    block
}

/// A size as `memory_mb` can say it.
fn mebibytes(size: ByteSize) -> Option<u32> {
    let whole = u32::try_from(size.bytes() >> 20).ok().filter(|mib| (4..=16 * 1024 * 1024).contains(mib))?;
    (ByteSize::from_mib(whole) == size).then_some(whole)
}

fn network(config: &Config) -> Block {
    let mut block = Block::new("network");
    block.list("ports", &config.ports, config.emptied.contains(&"network.ports"));
    block.list("rules", &config.rules, config.emptied.contains(&"network.rules"));
    block
}

fn domains(config: &Config) -> Block {
    let mut block = Block::new("security.domains");
    let emptied = |key| config.emptied.contains(&key);
    let places = |rules: &[EgressRule]| rules.iter().map(place).collect::<Vec<_>>();
    block.list("allow", &places(&config.domains.allow), emptied("security.domains.allow"));
    block.list("block", &places(&config.domains.block), emptied("security.domains.block"));
    block.flag("allowlist_only", config.domains.allowlist_only);
    block
}

/// A rule where the key says the verdict.
pub(crate) fn place(rule: &EgressRule) -> String {
    let text = rule.to_string();
    match text.split_once(' ') {
        Some((_verdict, place)) => place.to_owned(),
        None => text,
    }
}

fn security(config: &Config) -> Block {
    let mut block = Block::new("security");
    block.text("profile", config.profile);
    block.flag("network", config.network.map(|switch| switch == NetworkSwitch::On));
    block.flag("mount_cwd", config.mount_cwd);
    block.text(
        "seccomp",
        config.seccomp.map(|level| match level {
            SeccompLevel::Moderate => "moderate",
            SeccompLevel::Restrictive => "restrictive",
        }),
    );
    block.list("allow_write", &config.allow_write, config.emptied.contains(&"security.allow_write"));
    block.list("secret_files", &config.secret_files, config.emptied.contains(&"security.secret_files"));
    block
}

fn workspace(config: &Config) -> Block {
    let mut block = Block::new("workspace");
    block.text("path", config.workspace.path.as_ref());
    block.text("mode", config.workspace.share);
    block
}

fn file(file: &FileEntry) -> Block {
    let mut block = Block::listed("files");
    block.text("dest", Some(file.dest()));
    match file.body() {
        FileBody::Source(path) => block.text("source", Some(path)),
        FileBody::Content(bytes) => match readable(bytes) {
            Some(content) => block.text("content", Some(content)),
            None => block.text("content_base64", Some(STANDARD.encode(bytes))),
        },
    }
    block.text("mode", (file.mode() != FileEntry::DEFAULT_MODE).then(|| format!("{:04o}", file.mode())));
    block
}

/// Bytes that are text without control characters, which would take more room escaped than as base64.
fn readable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(|c| matches!(c, '\n' | '\t') || !c.is_control()).then_some(text)
}

fn build(config: &Config) -> Block {
    let build = &config.build;
    let mut block = Block::new("build");
    block.text("dockerfile", build.dockerfile.as_ref());
    block.text("context", build.context.as_ref());
    block.text("target", build.target.as_ref());
    block.map("args", build.args.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    block.flag("no_cache", build.no_cache);
    block
}

fn template(info: &TemplateInfo) -> Block {
    let mut block = Block::new("template");
    block.text("description", info.description.as_ref());
    block.text("category", info.category.as_ref());
    block.text("help_text", info.help_text.as_ref());
    block.text("extends", info.extends.as_ref());
    block
}

/// A text in quotes; over several lines where that can be read and says exactly the same.
pub(crate) fn text(value: &str) -> String {
    if value.contains('\n') && readable(value.as_bytes()).is_some() {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        return format!("\"\"\"\n{escaped}\"\"\"");
    }
    basic(value)
}

/// A basic string of TOML.
fn basic(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { basic(key) }
}

/// In the largest units that fit: `1d12h`, `90s` as `1m30s`, and `0s`.
fn duration(time: Duration) -> String {
    let mut rest = time.as_secs();
    let mut out = String::new();
    for (seconds, unit) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= seconds {
            out.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}
