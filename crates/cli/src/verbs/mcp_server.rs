//! `agentkernel mcp-server`.

use crate::{broker::Broker, context::Context, settings, vaults::VaultArgs, workspace};
use agentkernel_model::{Error, Result, mount::Workspace, text::printable};
use agentkernel_server::{
    App,
    keys::KeySource,
    mcp,
    options::{Listen, Options, ServerLimits},
};
use clap::Args;
use std::{path::PathBuf, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  agentkernel mcp-server --allow-path ~/projects
  claude mcp add agentkernel -- agentkernel mcp-server
  npx @modelcontextprotocol/inspector --cli agentkernel mcp-server --method tools/list

Agents start it by themselves: an entry of .mcp.json, or of what your agent has for that, names
the command 'agentkernel' and the argument 'mcp-server'. It speaks the Model Context Protocol, a
message a line, and ends with its stdin. The same tools are at /mcp of 'agentkernel serve'.

With the argument cwd a sandbox has a view of a directory at /workspace: of the one in which the
server was started, one below it, or those that --allow-path names. No write reaches it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct McpServer {
    /// A directory that agents may have views of, instead of the one in which this is started (repeatable)
    #[arg(long, value_name = "DIRECTORY")]
    allow_path: Vec<PathBuf>,

    /// Let agents run commands as root inside
    #[arg(long)]
    allow_sudo: bool,

    /// Let rules of callers open this machine, its networks and the metadata of its provider to sandboxes, and images come from there
    #[arg(long)]
    allow_private_network: bool,

    /// How many commands run at once
    #[arg(long, value_name = "NUMBER", default_value_t = ServerLimits::default().commands)]
    max_commands: usize,

    #[command(flatten)]
    vault: VaultArgs,
}

impl McpServer {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let broker = Arc::new(Broker::new(context.clone(), self.vault.clone()));
        let app =
            App::new(context.engine_for_callers(self.allow_private_network), broker, self.options(context)?)?;
        context.serve(async {
            let watch = |kind| signal(kind).map_err(|e| Error::io("cannot watch for signals", e));
            let (mut terminate, mut interrupt) =
                (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
            let end = async {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            context.printer.note("serving the Model Context Protocol on stdin and stdout");
            mcp::serve_stdio(&app, tokio::io::stdin(), tokio::io::stdout(), end).await
        })?;
        Ok(0)
    }

    fn options(&self, context: &Context) -> Result<Options> {
        Ok(Options {
            allow_paths: self.roots(context)?,
            // Nobody but whoever has its stdin reaches it.
            listen: Listen { tcp: None, socket: None },
            keys: KeySource::default(),
            insecure: false,
            allow_hosts: Vec::new(),
            allow_secret_files: false,
            allow_private_network: self.allow_private_network,
            allow_sudo: self.allow_sudo,
            access_log: None,
            path: context.settings.host.surroundings.path.clone(),
            limits: ServerLimits { commands: self.max_commands, ..ServerLimits::default() },
        })
    }

    /// The home and what contains it hold more than a project: they are roots only where a person says so.
    fn roots(&self, context: &Context) -> Result<Vec<PathBuf>> {
        if !self.allow_path.is_empty() {
            let real = |path: &PathBuf| {
                path.canonicalize().ok().filter(|found| found.is_dir()).ok_or_else(|| {
                    let shown = printable(&path.to_string_lossy());
                    Error::invalid(format!("--allow-path {shown}: there is no such directory"))
                        .with_hint("name a directory that exists")
                })
            };
            return self.allow_path.iter().map(real).collect();
        }
        let home = context.settings.home.as_deref().map(workspace::resolved);
        let here = workspace::resolved(&settings::current_dir()?);
        let automatic = workspace::automatic(&here, home.as_deref(), false);
        if automatic.note.is_some() {
            context
                .printer
                .note("agents get no view of this directory, which is no project's; --allow-path names one");
        }
        Ok(match automatic.workspace {
            Workspace::View(project) => vec![project],
            _ => Vec::new(),
        })
    }
}
