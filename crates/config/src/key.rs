//! The one table of keys of `agentkernel.toml`. What is read, suggested, described to editors and documented comes from
//! here; so does what a file that was only found may set.
//!
//! To add a key: one row in [`KEYS`], one field of [`crate::Config`], one line where its table is read, one in
//! `render.rs`, and its case in `trust.rs`. Tests fail for a row without the rest.

use crate::{languages::RUNTIMES, mode::Mode, workspace::MODES};
use agentkernel_model::{agent::Agent, policy::Profile};

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A text; the first example is a good one.
    Text(&'static [&'static str]),
    Choice(&'static [&'static str]),
    Boolean,
    Whole {
        least: u32,
        most: u32,
    },
    /// A number of processors.
    Cpus,
    /// A text, or a whole number of seconds.
    Duration,
    /// A list of texts, or of whole numbers without quotes.
    Ports,
    /// A list of texts.
    Texts(&'static [&'static str]),
    /// A table whose keys are free and whose values are texts.
    Map,
    /// A table whose keys are names of secrets, and whose values are hosts or tables.
    Secrets,
    /// A table with the keys of [`KEYS`], such as `[security.domains]`.
    Table,
    /// Known, and refused wherever it stands: what it would need.
    Refused(&'static str),
}

/// What a file that was only found may do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its effect stays inside.
    Free,
    /// Only what makes the sandbox narrower.
    Tighter,
    /// Only paths that stay in the project, and places inside that are not the project.
    Project,
    /// Only when somebody asked for a build.
    Asked,
    Never,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// The name of its table; empty for a key that is a table itself.
    pub(crate) table: &'static str,
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// One sentence without a full stop.
    pub(crate) doc: &'static str,
    pub(crate) found: Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[name]` with the keys of [`KEYS`].
    Keys,
    /// `[[name]]`, each with the keys of [`KEYS`].
    List,
    /// `[name]` within another table: its key there has [`Form::Table`].
    Nested,
    /// `[name]` that configures a part which this version lacks. Anything may be in it.
    Unused,
    /// `[[name]]` of the same kind.
    UnusedList,
}

/// One table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) doc: &'static str,
}

pub(crate) const TABLES: [Table; 20] = [
    table("sandbox", Shape::Keys, "What the sandbox is made from"),
    table("agent", Shape::Keys, "The coding agent that works inside"),
    table("resources", Shape::Keys, "Limits, in place of the profile's sizes"),
    table("network", Shape::Keys, "Published ports, and rules about connections"),
    table("security", Shape::Keys, "What the sandbox may do"),
    table("security.domains", Shape::Nested, "Hosts that may be reached or not; 'block' wins"),
    table("workspace", Shape::Keys, "What /workspace shows"),
    table("mounts", Shape::List, "Directories and files of this machine that are shown inside"),
    table("files", Shape::List, "Files that are there before the first command"),
    table("build", Shape::Keys, "The image is built from a Dockerfile when --build asks for it"),
    table("template", Shape::Keys, "What 'template list' says, in templates"),
    table("git", Shape::Keys, "The repository of the project"),
    table("remote", Shape::Unused, "Hosted backends"),
    table("orchestrator", Shape::Unused, "Backends of clusters"),
    table("api", Shape::Unused, "The HTTP server"),
    table("scheduling", Shape::Unused, "Automatic stops and starts"),
    table("schedule", Shape::UnusedList, "Commands that are run by the clock"),
    table("proxy", Shape::Unused, "Hooks of the proxy"),
    table("enterprise", Shape::Unused, "Central policy"),
    table("llm_governance", Shape::Unused, "Limits on language models"),
];

const fn table(name: &'static str, shape: Shape, doc: &'static str) -> Table {
    Table { name, shape, doc }
}

const fn key(table: &'static str, name: &'static str, form: Form, found: Found, doc: &'static str) -> Key {
    Key { table, name, form, doc, found }
}

const NETWORKS: &str = "networks that agentkernel manages";
const VAULT: &str = "the vault of secrets and a gateway that puts them into requests";

/// Every key, tables together, in the order in which they are written and documented.
#[rustfmt::skip]
pub(crate) const KEYS: [Key; 63] = [
    key("sandbox", "name", Form::Text(&["my-project"]), Found::Free, "Its name; the directory's name without it"),
    key("sandbox", "description", Form::Text(&["builds the docs"]), Found::Free, "A line for people, at most 1,024 bytes"),
    key("sandbox", "runtime", Form::Choice(&RUNTIMES), Found::Free, "A language whose image is taken"),
    key("sandbox", "base_image", Form::Text(&["python:3.12-alpine", "host"]), Found::Free, "The image; wins over runtime"),
    key("sandbox", "init_script", Form::Text(&["apk add --no-cache git"]), Found::Free, "Run inside with 'sh -c', as root there, once before the first command"),
    key("sandbox", "user", Form::Text(&["1000:1000", "root"]), Found::Free, "Who commands run as inside: UID, UID:GID or a name of the image"),
    key("sandbox", "workdir", Form::Text(&["/workspace"]), Found::Free, "The working directory inside"),
    key("sandbox", "backend", Form::Text(&["docker"]), Found::Never, "The backend, instead of the best one that works here"),
    key("sandbox", "isolation", Form::Choice(&ISOLATIONS), Found::Tighter, "The least isolation to accept; vm is a kernel of its own"),
    key("sandbox", "oci_runtime", Form::Text(&["runsc"]), Found::Never, "The OCI runtime that a container engine starts it with, instead of the engine's own; runsc is gVisor"),
    key("sandbox", "ttl", Form::Duration, Found::Free, "How long a named sandbox is kept; 0 for ever"),
    key("sandbox", "labels", Form::Map, Found::Free, "Labels by which sandboxes are listed"),
    key("", "environment", Form::Map, Found::Free, "Environment variables of every command inside"),
    key("agent", "preferred", Form::Choice(&Agent::NAMES), Found::Free, "The agent that the project prefers; when it is what is run, the sandbox suits it, if the file is trusted"),
    key("agent", "compatibility_mode", Form::Choice(&Mode::NAMES), Found::Never, "The agent that the sandbox is to suit, as --agent does; native for none"),
    key("agent", "git_name", Form::Text(&["Ada Lovelace"]), Found::Free, "The author of commits that are made inside; needs git_email"),
    key("agent", "git_email", Form::Text(&["ada@example.org"]), Found::Free, "The author's address; needs git_name"),
    key("resources", "vcpus", Form::Cpus, Found::Free, "Processors, such as 2 or 0.5"),
    key("resources", "memory_mb", Form::Whole { least: 4, most: 16 * 1024 * 1024 }, Found::Free, "The most memory, in MiB"),
    key("resources", "memory", Form::Text(&["1GB", "512MB"]), Found::Free, "The most memory, as a size; instead of memory_mb"),
    key("resources", "pids", Form::Whole { least: 1, most: 4_194_304 }, Found::Free, "The most processes and threads at once; a found file may write up to 4096"),
    key("network", "ports", Form::Ports, Found::Never, "TCP ports that are offered on 127.0.0.1: HOST:SANDBOX, or one number for both"),
    key("network", "rules", Form::Texts(&["deny POST api.example.com/v1", "allow api.example.com:443"]), Found::Tighter, "Rules about connections, in order; the first that is about a connection decides"),
    key("network", "name", Form::Refused(NETWORKS), Found::Never, "A managed network"),
    key("network", "subnet", Form::Refused(NETWORKS), Found::Never, "Its addresses"),
    key("network", "gateway", Form::Refused(NETWORKS), Found::Never, "Its gateway"),
    key("network", "dns", Form::Refused(NETWORKS), Found::Never, "Its resolver"),
    key("network", "static_ip", Form::Refused(NETWORKS), Found::Never, "An address of the sandbox's own"),
    key("network", "vsock_cid", Form::Refused("a backend of virtual machines"), Found::Never, "The number of a virtual machine"),
    key("security", "profile", Form::Choice(&Profile::NAMES), Found::Tighter, "How much the sandbox may do"),
    key("security", "network", Form::Boolean, Found::Tighter, "Whether there is a network, whatever the profile says"),
    key("security", "mount_cwd", Form::Boolean, Found::Tighter, "Whether the project is mounted writable at /workspace"),
    key("security", "seccomp", Form::Choice(&SECCOMP), Found::Tighter, "The list of system calls, whatever the profile says"),
    key("security", "allow_write", Form::Texts(&[".envrc", ".vscode"]), Found::Never, "Configuration in writable directories that may be changed although programs of this machine obey it"),
    key("security", "secret_files", Form::Texts(&["DEPLOY_KEY"]), Found::Never, "Secrets of the vault that are files inside, in /run/agentkernel/secrets"),
    key("security", "domains", Form::Table, Found::Tighter, "Hosts that may be reached or not, asked around network.rules"),
    key("security.domains", "allow", Form::Texts(&["api.example.com", "*.example.com"]), Found::Tighter, "What is let out, asked after network.rules"),
    key("security.domains", "block", Form::Texts(&["tracker.example.com"]), Found::Tighter, "What is not, asked before all other rules of the file"),
    key("security.domains", "allowlist_only", Form::Boolean, Found::Tighter, "Whether nothing is let out but what a rule allows"),
    key("security", "commands", Form::Refused("a check of every program that is started inside"), Found::Never, "Programs that may be run"),
    key("security", "transport", Form::Refused("access to sandboxes by ssh"), Found::Never, "How sandboxes are reached"),
    key("", "secrets", Form::Secrets, Found::Never, "Secrets of the vault, and the one host that each goes to: KEY = \"host\", or KEY = { host = \"host\", header = \"X-Api-Key\" }"),
    key("", "llm_keys", Form::Refused(VAULT), Found::Never, "Keys of language models"),
    key("workspace", "path", Form::Text(&["."]), Found::Never, "The directory of this machine, from the file's directory on"),
    key("workspace", "mode", Form::Choice(&MODES), Found::Tighter, "rw: the directory itself; ro: the same, read-only; view: what is written stays inside; none: nothing"),
    key("mounts", "source", Form::Text(&["./data"]), Found::Never, "A path of this machine, from the file's directory on, or the name of a managed volume"),
    key("mounts", "target", Form::Text(&["/data"]), Found::Never, "The path inside"),
    key("mounts", "read_only", Form::Boolean, Found::Never, "Whether it cannot be written inside; false without it"),
    key("files", "dest", Form::Text(&["/etc/motd"]), Found::Project, "The path inside"),
    key("files", "source", Form::Text(&["./motd"]), Found::Project, "The file on this machine, from the file's directory on"),
    key("files", "content", Form::Text(&["hello"]), Found::Project, "The text of the file, in place of a source"),
    key("files", "content_base64", Form::Text(&["aGVsbG8="]), Found::Project, "The bytes of the file as base64, in place of a source"),
    key("files", "mode", Form::Text(&["0644", "0755"]), Found::Project, "Its permissions, in octal; 0644 without it"),
    key("build", "dockerfile", Form::Text(&["Dockerfile"]), Found::Asked, "The Dockerfile, from the file's directory on"),
    key("build", "context", Form::Text(&["."]), Found::Asked, "The directory that the build sees, from the file's directory on"),
    key("build", "target", Form::Text(&["runtime"]), Found::Asked, "The stage that is built"),
    key("build", "args", Form::Map, Found::Asked, "Arguments of the build"),
    key("build", "no_cache", Form::Boolean, Found::Asked, "Whether every step is run again"),
    key("template", "description", Form::Text(&["Python 3.12"]), Found::Free, "One line about the template"),
    key("template", "category", Form::Text(&["language"]), Found::Free, "Where the template is listed"),
    key("template", "help_text", Form::Text(&["agentkernel exec NAME -- python3"]), Found::Free, "What to do with a sandbox of it"),
    key("template", "extends", Form::Text(&["python"]), Found::Free, "The template that this one changes, by name"),
    key("git", "worktree", Form::Refused("worktrees that are made for a sandbox"), Found::Never, "A worktree of the sandbox's own"),
];

pub(crate) const ISOLATIONS: [&str; 2] = ["any", "vm"];
pub(crate) const SECCOMP: [&str; 2] = ["moderate", "restrictive"];

/// The whole name, such as `sandbox.name`.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.table {
            "" => f.write_str(self.name),
            table => write!(f, "{table}.{}", self.name),
        }
    }
}

impl Key {
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.form, Form::Refused(_))
    }
}

/// The keys of a table that can be written.
pub(crate) fn of_table(table: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.table == table)
}

/// A key by its table and name.
pub(crate) fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.table == table && key.name == name)
}
