//! `agentkernel sandbox import-config`.

use super::create::Create;
use crate::context::Context;
use agentkernel_model::{Result, name::SandboxName};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox export-config my-sandbox > my-sandbox.toml
  agentkernel sandbox import-config my-sandbox.toml --as new-sandbox
  agentkernel sandbox import-config my-sandbox.toml --as new-sandbox -B docker";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportConfig {
    /// A configuration, such as 'export-config' writes
    file: PathBuf,

    /// The name of the new sandbox; without it the one in the file
    #[arg(long = "as", value_name = "NAME")]
    name: Option<SandboxName>,

    /// The backend to use, instead of the one in the file
    #[arg(short = 'B', long, value_name = "NAME")]
    backend: Option<String>,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl ImportConfig {
    /// A `create` with a configuration that a person named.
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        Create::from_config(self.name, self.file, self.backend, self.json).execute(context)
    }
}
