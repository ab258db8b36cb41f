//! `agentkernel sandbox create`.

use crate::{
    args::SandboxArgs,
    context::Context,
    spec::{self, Purpose},
};
use agentkernel_engine::request::CreateRequest;
use agentkernel_model::{
    Error, Result,
    limits::Limit,
    name::{Label, SandboxName},
    size::parse_duration,
    spec::SandboxSpec,
};
use clap::Args;
use std::{fmt::Display, time::Duration};

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox create my-project --dir .         the project, writable, at /workspace
  agentkernel sandbox create trial --dir .:view         a copy-on-write view of it
  agentkernel sandbox create ci --ttl 1h -l team=web
  agentkernel sandbox create api -P 8080:80 --memory 2GB
  agentkernel sandbox create box --profile restrictive";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Create {
    /// The name; without one, sandbox.name of the configuration
    name: Option<SandboxName>,

    #[command(flatten)]
    sandbox: SandboxArgs,

    /// Show this directory at /workspace: writable, :ro read-only, :view copy-on-write
    #[arg(short, long, value_name = "PATH[:ro|:view]")]
    dir: Option<String>,

    /// Attach a label (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    label: Vec<Label>,

    /// Expire after this time, such as 30m, 1h or 3d; 0 is never
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,

    /// Say what it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl Create {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let purpose = Purpose::Create { dir: self.dir.as_deref() };
        let prepared = spec::prepare(&context.settings, &self.sandbox, purpose)?;
        let name = self.name.or(prepared.name).ok_or_else(|| {
            Error::invalid("the sandbox has no name").with_hint("agentkernel sandbox create NAME")
        })?;
        context.tell(&prepared.notes, &prepared.remarks);
        let size = resources(&prepared.spec);
        let request = CreateRequest {
            name,
            spec: prepared.spec,
            backend: self.sandbox.backend,
            labels: self.label,
            ttl: self.ttl.filter(|ttl| !ttl.is_zero()),
            description: self.description,
        };
        let engine = context.engine();
        let info = context.block_on(engine.create(request))?;
        if self.json {
            return context.printer.json(&info);
        }
        let name = &info.name;
        let mut text =
            format!("created '{name}' from image {} on backend {}\n  {size}", info.image, info.backend);
        if !info.unenforced.is_empty() {
            text += &format!("\n  not enforced on this machine: {}", info.unenforced.join(", "));
        }
        if let Some(at) = &info.expires_at {
            text += &format!("\n  expires {at}");
        }
        text += &format!("\nstart it with 'agentkernel sandbox start {name}'");
        context.printer.text(text)
    }
}

fn resources(spec: &SandboxSpec) -> String {
    fn of<T: Copy + Display>(limit: Option<Limit<T>>) -> String {
        limit.map_or_else(|| "no limit".to_owned(), |l| l.value().to_string())
    }
    let limits = &spec.policy.limits;
    format!("cpus {}, memory {}, profile {}", of(limits.cpus), of(limits.memory), spec.policy.profile)
}
