//! Flags that several verbs share, and the grammars of their values.

use crate::rules::RuleArgs;
use crate::secrets::SecretArgs;
use agentkernel_config::template::Specifier;
use agentkernel_image::PullPolicy;
use agentkernel_model::{
    Error, Result,
    agent::Agent,
    command::{EnvVar, User},
    guard::GuardedName,
    image::ImageRef,
    path::GuestPath,
    policy::Profile,
    port::PublishedPort,
    runtime::RuntimeName,
    size::{ByteSize, Cpus},
    spec::Isolation,
    suggest,
    text::printable,
};
use clap::Args;
use std::path::PathBuf;

/// What a sandbox is made of.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SandboxArgs {
    /// The image: 'host' for this machine's own tools, or a reference such as python:3.12-alpine
    #[arg(short, long, value_name = "REF")]
    pub(crate) image: Option<ImageRef>,

    /// Suit a coding agent: claude, gemini, codex or opencode
    #[arg(
        short,
        long,
        value_name = "AGENT",
        long_help = "Suit a coding agent: claude, gemini, codex or opencode. It reaches its own service and, until --allow says more, \
                     nothing else; its key, of the vault or the environment, is put into requests outside and is never inside; the \
                     instructions of your home (such as ~/.claude/CLAUDE.md) are there, read-only, and its logins and settings are \
                     not. --dry-run shows all of it"
    )]
    pub(crate) agent: Option<Agent>,

    /// Start from a template: a name, a path, or github:OWNER/REPO/PATH
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) template: Option<Specifier>,

    /// Build the image from the Dockerfile of this directory, with Docker or Podman, unless nothing changed
    #[arg(long, conflicts_with = "image")]
    pub(crate) build: bool,

    /// Whether to pull the image: missing (the default), always or never
    #[arg(long, value_name = "WHEN", value_parser = pull)]
    pub(crate) pull: Option<PullPolicy>,

    /// Take image, environment and scripts from a devcontainer.json
    #[arg(long, value_name = "FILE", conflicts_with = "auto_devcontainer")]
    pub(crate) devcontainer: Option<PathBuf>,

    /// Take a devcontainer.json into account where the project has one
    #[arg(long)]
    pub(crate) auto_devcontainer: bool,

    /// How much the sandbox may do: restrictive, moderate (the default) or permissive
    #[arg(short, long, value_name = "NAME")]
    pub(crate) profile: Option<Profile>,

    /// No network but a loopback of the sandbox's own
    #[arg(long)]
    pub(crate) no_network: bool,

    #[command(flatten)]
    pub(crate) rules: RuleArgs,

    /// Let nothing out but what a rule allows
    #[arg(long)]
    pub(crate) only_listed: bool,

    /// A configuration file; unlike ./agentkernel.toml, which is only found, it is trusted
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The backend to use, instead of the best one that works here
    #[arg(short = 'B', long, value_name = "NAME")]
    pub(crate) backend: Option<String>,

    /// Set an environment variable inside (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<EnvVar>,

    /// The working directory inside
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<GuestPath>,

    /// Run as this user inside, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    pub(crate) user: Option<User>,

    /// Show a directory or file of this machine inside (repeatable)
    #[arg(short, long, value_name = "HOST_PATH:SANDBOX_PATH[:ro]")]
    pub(crate) volume: Vec<String>,

    /// Let hooks, shell, editor or agent configuration of a writable directory be changed, such as .envrc (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        long_help = "In a directory of this machine that is mounted writable, what makes programs of this machine run something stays \
                     read-only where it exists: git's hooks and configuration, and the files by which shells, direnv, editors and coding \
                     agents are set up. This lets one of them be changed; the name is relative to the directory, such as .envrc, \
                     .vscode or .git/hooks (repeatable). --dry-run and 'sandbox info' show what is kept"
    )]
    pub(crate) allow_write: Vec<GuardedName>,

    /// Offer a TCP port of the sandbox on 127.0.0.1 (repeatable)
    #[arg(short = 'P', long, value_name = "[HOST:]PORT")]
    pub(crate) publish: Vec<PublishedPort>,

    /// The most memory the sandbox may use, such as 512MB or 2GB
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub(crate) memory: Option<ByteSize>,

    /// The most processor time it may use, in processors, such as 0.5 or 2
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<Cpus>,

    /// The least isolation to accept: any, or vm for a kernel of its own
    #[arg(long, value_name = "KIND", value_parser = isolation)]
    pub(crate) isolation: Option<Isolation>,

    /// The OCI runtime of a container engine to start it with, such as runsc for gVisor
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<RuntimeName>,

    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
}

/// How a command is connected to the caller.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IoArgs {
    /// Give the command a terminal of its own
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// Do not pass stdin to the command
    #[arg(short, long, conflicts_with = "tty")]
    pub(crate) no_stdin: bool,
}

fn pull(text: &str) -> Result<PullPolicy> {
    match text {
        "missing" => Ok(PullPolicy::Missing),
        "always" => Ok(PullPolicy::Always),
        "never" => Ok(PullPolicy::Never),
        _ => Err(Error::invalid(format!("'{}' is no time to pull", printable(text)))
            .with_hint(suggest::hint(text, &["missing", "always", "never"]))),
    }
}

/// Less is not enough for a shell to start.
const LEAST_MEMORY: ByteSize = ByteSize::from_mib(4);

pub(crate) fn memory(text: &str) -> Result<ByteSize> {
    let size: ByteSize = text.parse()?;
    if size < LEAST_MEMORY {
        return Err(Error::invalid(format!("a memory limit of {size} is too small for any command"))
            .with_hint(format!("write {LEAST_MEMORY} or more, such as --memory 512MB")));
    }
    Ok(size)
}

fn isolation(text: &str) -> Result<Isolation> {
    match text {
        "any" => Ok(Isolation::Any),
        "vm" => Ok(Isolation::Vm),
        _ => Err(Error::invalid(format!("'{}' is not a kind of isolation", printable(text)))
            .with_hint(suggest::hint(text, &["any", "vm"]))),
    }
}
