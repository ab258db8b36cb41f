//! `agentkernel sandbox export-config`.

use crate::context::Context;
use agentkernel_config::export;
use agentkernel_model::{Error, Kind, Result, name::SandboxName};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox export-config my-sandbox > my-sandbox.toml
  agentkernel sandbox import-config my-sandbox.toml --as new-sandbox

Holds everything that the sandbox was made from, values of environment variables included. The files in it
are another matter: 'agentkernel sandbox export' writes those.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportConfig {
    /// The sandbox
    name: SandboxName,
}

impl ExportConfig {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let info = context.block_on(engine.info(&self.name))?;
        let spec = info.spec.as_ref().ok_or_else(|| {
            Error::new(Kind::Conflict, format!("what '{}' was made from cannot be read", self.name))
        })?;
        let meta = export::Meta {
            name: Some(info.name.clone()),
            labels: super::labels(&info)?,
            description: info.description.clone(),
            ttl: info.ttl(),
            backend: Some(info.backend.to_string()),
            template: agentkernel_config::TemplateInfo::default(),
            home: context.settings.home.as_deref().map(crate::workspace::resolved),
        };
        context.printer.text(export::to_toml(spec, &meta)?.trim_end())
    }
}
