//! `agentkernel sandbox VERB`.

pub(super) mod clean;
pub(super) mod cp;
pub(super) mod create;
pub(super) mod exec_kill;
pub(super) mod exec_list;
pub(super) mod exec_logs;
pub(super) mod export;
pub(super) mod export_config;
pub(super) mod extend_ttl;
pub(super) mod gc;
pub(super) mod import_config;
pub(super) mod info;
pub(super) mod list;
pub(super) mod network;
pub(super) mod remove;
pub(super) mod resize;
pub(super) mod start;
pub(super) mod stop;

use crate::context::Context;
use agentkernel_engine::request::SandboxInfo;
use agentkernel_model::{Result, name::Label};
use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox create my-project --dir .
  agentkernel sandbox start my-project
  agentkernel exec my-project -- npm test
  agentkernel sandbox stop my-project
  agentkernel sandbox remove my-project";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Verb {
    /// Make a sandbox; 'start' brings it up
    Create(Box<create::Create>),
    /// Bring a sandbox up
    Start(start::Start),
    /// End everything that runs in a sandbox; its files stay
    Stop(stop::Stop),
    /// Remove a sandbox and its files
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
    /// Show the sandboxes there are
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Show one sandbox with its resolved policy
    Info(info::Info),
    /// Show the network rules of a sandbox, or change them while it runs
    Network(network::Network),
    /// Give a sandbox more time before it expires
    ExtendTtl(extend_ttl::ExtendTtl),
    /// Give a sandbox other limits of memory and processors, while it runs too
    Resize(resize::Resize),
    /// Show the detached commands of a sandbox, which 'exec --detach' begins
    ExecList(exec_list::ExecList),
    /// Show what a detached command has written so far
    ExecLogs(exec_logs::ExecLogs),
    /// End a detached command
    ExecKill(exec_kill::ExecKill),
    /// Copy files and directories into a sandbox or out of it
    Cp(cp::Cp),
    /// Write a sandbox's files as a tar archive
    Export(export::Export),
    /// Write what a sandbox was made from as an agentkernel.toml
    ExportConfig(export_config::ExportConfig),
    /// Make a sandbox from a configuration of 'export-config'
    ImportConfig(import_config::ImportConfig),
    /// Remove expired sandboxes and what crashes left behind
    Gc(gc::Gc),
    /// Remove stopped sandboxes and leftovers; on request running ones and images too
    Clean(clean::Clean),
}

/// The labels of a sandbox, as they were written.
pub(super) fn labels(info: &SandboxInfo) -> Result<Vec<Label>> {
    info.labels.iter().map(|(key, value)| Label::new(key, value)).collect()
}

impl Verb {
    pub(super) const fn json(&self) -> bool {
        match self {
            Self::Create(verb) => verb.json,
            Self::Start(verb) => verb.json,
            Self::Stop(verb) => verb.json,
            Self::Remove(verb) => verb.json,
            Self::List(verb) => verb.json,
            Self::Info(verb) => verb.json,
            Self::Network(verb) => verb.json,
            Self::ExtendTtl(verb) => verb.json,
            Self::Resize(verb) => verb.json,
            Self::ExecList(verb) => verb.json,
            Self::ExecLogs(verb) => verb.json,
            Self::ExecKill(verb) => verb.json,
            Self::Cp(verb) => verb.json,
            Self::Export(_) | Self::ExportConfig(_) => false,
            Self::ImportConfig(verb) => verb.json,
            Self::Gc(verb) => verb.json,
            Self::Clean(verb) => verb.json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        match self {
            Self::Create(verb) => verb.execute(context),
            Self::Start(verb) => verb.execute(context),
            Self::Stop(verb) => verb.execute(context),
            Self::Remove(verb) => verb.execute(context),
            Self::List(verb) => verb.execute(context),
            Self::Info(verb) => verb.execute(context),
            Self::Network(verb) => verb.execute(context),
            Self::ExtendTtl(verb) => verb.execute(context),
            Self::Resize(verb) => verb.execute(context),
            Self::ExecList(verb) => verb.execute(context),
            Self::ExecLogs(verb) => verb.execute(context),
            Self::ExecKill(verb) => verb.execute(context),
            Self::Cp(verb) => verb.execute(context),
            Self::Export(verb) => verb.execute(context),
            Self::ExportConfig(verb) => verb.execute(context),
            Self::ImportConfig(verb) => verb.execute(context),
            Self::Gc(verb) => verb.execute(context),
            Self::Clean(verb) => verb.execute(context),
        }
        .map(|()| 0)
    }
}
