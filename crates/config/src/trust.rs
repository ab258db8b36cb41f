//! What a configuration that was only found may decide.
//!
//! A cloned repository brings its own `agentkernel.toml`. It may choose what has its effect inside (image, resources,
//! environment, files of the project, an init script), and it may tighten the policy. Whatever loosens it, or reaches the
//! host, takes effect only when a person names the file or trusts it.

use crate::{
    bound::shortened,
    build::Build,
    entry::{FileBody, FileEntry},
    file::Config,
    render::place,
    workspace::{Share, stays_inside},
};
use agentkernel_model::{
    egress::{EgressRule, Group, Target, Verdict},
    mount::Workspace,
    path::GuestPath,
    policy::{EffectivePolicy, Network, NetworkSwitch, Profile},
    seccomp::SeccompLevel,
    spec::Isolation,
    text::printable,
};

/// The most processes that a found file may ask for: as many as the widest profile gives by itself. A machine has one
/// table of processes for everybody.
pub const MOST_PIDS: u32 = 4096;

/// A configuration reduced to what it may decide, and what was left out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restricted {
    /// Its `build` is always empty.
    pub config: Config,
    /// Each is a setting as the file wrote it, such as `security.mount_cwd = true`.
    pub ignored: Vec<String>,
    /// What the file says about a build, without paths that leave the project. It takes effect only when somebody typed
    /// `--build`: building runs the Dockerfile in an engine.
    pub build: Build,
}

/// Reduces `config`. `flag` is the profile that the caller wrote, which the file can only tighten.
#[must_use]
pub fn restrict(mut config: Config, flag: Option<Profile>) -> Restricted {
    let mut ignored = Vec::new();
    policy(&mut config, flag, &mut ignored);
    rules(&mut config, leads_further, &mut ignored);
    host(&mut config, &mut ignored);
    config.files.retain(|file| match left_out(file) {
        Some(what) => {
            ignored.push(what);
            false
        }
        None => true,
    });
    if let Some(pids) = config.pids.filter(|pids| *pids > MOST_PIDS) {
        config.pids = None;
        ignored.push(format!("resources.pids = {pids}"));
    }
    // It is what holds without a word: it must not win over a flag that asks for more.
    config.isolation = config.isolation.filter(|isolation| *isolation != Isolation::Any);
    let build = inside(std::mem::take(&mut config.build), &mut ignored);
    Restricted { config, ignored, build }
}

/// Profile, network and system calls: only downwards.
fn policy(config: &mut Config, flag: Option<Profile>, ignored: &mut Vec<String>) {
    if let Some(profile) = config.profile.filter(|wanted| *wanted > flag.unwrap_or_default()) {
        // Where a flag already chose the profile, the file's says nothing new.
        if flag.is_none() {
            ignored.push(format!("security.profile = \"{profile}\""));
        }
        config.profile = None;
    }
    let base = EffectivePolicy::of_profile(flag.or(config.profile).unwrap_or_default());
    if config.network == Some(NetworkSwitch::On) && base.network == Network::Off {
        config.network = None;
        ignored.push("security.network = true".to_owned());
    }
    if config.seccomp.is_some_and(|level| level > base.seccomp) {
        config.seccomp = None;
        ignored.push(format!("security.seccomp = \"{}\"", word(SeccompLevel::Moderate)));
    }
}

/// Takes out the rules that `loosens` says so of.
fn rules(config: &mut Config, loosens: impl Fn(&EgressRule) -> bool, ignored: &mut Vec<String>) {
    config.rules.retain(|rule| {
        let out = loosens(rule);
        if out {
            ignored.push(format!("network.rules = [\"{rule}\"]"));
        }
        !out
    });
    config.domains.allow.retain(|rule| {
        let out = loosens(rule);
        if out {
            ignored.push(format!("security.domains.allow = [\"{}\"]", place(rule)));
        }
        !out
    });
}

/// Whether a rule lets out where no profile leads. A name leads to public addresses only, whatever its DNS says.
#[must_use]
pub const fn leads_inside(rule: &EgressRule) -> bool {
    let public = matches!(rule.target(), Target::Name(_) | Target::Group(Group::Public));
    is_allow(rule) && !public
}

/// Whether a rule lets out what no profile does: to where none leads, or over UDP.
const fn leads_further(rule: &EgressRule) -> bool {
    leads_inside(rule) || (is_allow(rule) && rule.is_only_udp())
}

const fn is_allow(rule: &EgressRule) -> bool {
    matches!(rule.verdict(), Verdict::Allow)
}

const fn word(level: SeccompLevel) -> &'static str {
    match level {
        SeccompLevel::Moderate => "moderate",
        SeccompLevel::Restrictive => "restrictive",
    }
}

/// What reaches this machine: never.
fn host(config: &mut Config, ignored: &mut Vec<String>) {
    if config.mount_cwd == Some(true) {
        config.mount_cwd = None;
        ignored.push("security.mount_cwd = true".to_owned());
    }
    if !config.ports.is_empty() {
        // A published port listens on the host, where it can stand in for a service that is not running.
        config.ports.clear();
        ignored.push("network.ports".to_owned());
    }
    if !config.allow_write.is_empty() {
        config.allow_write.clear();
        ignored.push("security.allow_write".to_owned());
    }
    // It binds keys of this machine, and shows files of its home.
    ignored.extend(config.mode.take().map(|mode| format!("agent.compatibility_mode = \"{mode}\"")));
    // Whoever gets a secret, and where it is sent, is for a person to say.
    ignored.extend(config.secrets.drain(..).map(|grant| format!("secrets.{}", grant.name)));
    if !config.secret_files.is_empty() {
        config.secret_files.clear();
        ignored.push("security.secret_files".to_owned());
    }
    if let Some(path) = config.workspace.path.take() {
        ignored.push(format!("workspace.path = \"{}\"", shown(&path)));
    }
    match config.workspace.share.take() {
        Some(Share::ReadWrite) => ignored.push("workspace.mode = \"rw\"".to_owned()),
        // A wish to have the project shown becomes a bound on how it is shown.
        narrower => config.workspace.limit = narrower.or(config.workspace.limit),
    }
    if !config.mounts.is_empty() {
        config.mounts.clear();
        ignored.push("mounts".to_owned());
    }
    if let Some(backend) = config.backend.take() {
        ignored.push(format!("sandbox.backend = \"{}\"", printable(&backend)));
    }
    if let Some(runtime) = config.oci_runtime.take() {
        // Any program that this machine's engine knows as a runtime, and not all of them isolate.
        ignored.push(format!("sandbox.oci_runtime = \"{runtime}\""));
    }
}

/// Why a file is left out: its source leaves the project, or it would be written into the project, which may be the
/// host's own directory.
fn left_out(file: &FileEntry) -> Option<String> {
    if let FileBody::Source(path) = file.body()
        && !stays_inside(path)
    {
        return Some(format!("files.source = \"{}\"", shown(path)));
    }
    let workspace = |dest: &GuestPath| {
        dest.as_str()
            .strip_prefix(Workspace::TARGET)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    workspace(file.dest()).then(|| format!("files.dest = \"{}\"", shown(file.dest().as_str())))
}

/// A build that sees no more than the project: its context is sent to an engine, whose Dockerfile may copy all of it.
fn inside(mut build: Build, ignored: &mut Vec<String>) -> Build {
    for (key, path) in [("dockerfile", &mut build.dockerfile), ("context", &mut build.context)] {
        if let Some(path) = path.take_if(|path| !stays_inside(path)) {
            ignored.push(format!("build.{key} = \"{}\"", shown(&path)));
        }
    }
    build
}

fn shown(text: &str) -> String {
    printable(&shortened(text))
}

impl Restricted {
    /// The same where a person said that only what they list is let out: nothing that the file allows is.
    #[must_use]
    pub fn beside_a_list(mut self) -> Self {
        rules(&mut self.config, is_allow, &mut self.ignored);
        self
    }

    /// The line for people that says what was left out and how to allow it; `None` when nothing was. `path` is how
    /// the file is named on a command line.
    #[must_use]
    pub fn note(&self, path: &str) -> Option<String> {
        /// A file can have thousands of entries; a person reads a line.
        const SHOWN: usize = 12;
        if self.ignored.is_empty() {
            return None;
        }
        let mut what = self.ignored.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        if let more @ 1.. = self.ignored.len().saturating_sub(SHOWN) {
            what.push_str(&format!(" and {more} more"));
        }
        Some(format!(
            "{path} was only found, so {what} is not applied; to allow it from now on: agentkernel trust; only this time, \
             to allow it: --config {path}"
        ))
    }
}

#[cfg(test)]
#[path = "trust_tests.rs"]
mod tests;
