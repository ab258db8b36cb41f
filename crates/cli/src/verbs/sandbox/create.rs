//! `agentkernel sandbox create`.

use crate::{
    args::SandboxArgs,
    branch,
    context::Context,
    image::Having,
    secrets, settings,
    spec::{self, Purpose},
};
use agentkernel_engine::{
    Engine,
    request::{CreateRequest, SandboxInfo},
};
use agentkernel_model::{
    Error, Kind, Result,
    limits::Limit,
    name::{Label, SandboxName},
    size::parse_duration,
    spec::SandboxSpec,
    text::printable,
};
use clap::Args;
use std::{fmt::Display, path::PathBuf, time::Duration};

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox create my-project --dir .         the project, writable, at /workspace
  agentkernel sandbox create my-project --template python
  agentkernel sandbox create --branch                   named after the git branch
  agentkernel sandbox create trial --dir .:view         a copy-on-write view of it
  agentkernel sandbox create ci --ttl 1h -l team=web
  agentkernel sandbox create api -P 8080:80 --memory 2GB
  agentkernel sandbox create box --profile restrictive
  agentkernel sandbox create my-agent --secret OPENAI_API_KEY:api.openai.com
  agentkernel sandbox create agent --only-listed --allow api.example.com:443";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Create {
    /// The name; without one, sandbox.name of the configuration
    name: Option<SandboxName>,

    /// Name it after the repository and the git branch that is checked out; if it is there, that is fine
    #[arg(long, conflicts_with = "name")]
    branch: bool,

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
    /// For `import-config`.
    pub(super) fn from_config(
        name: Option<SandboxName>,
        config: PathBuf,
        backend: Option<String>,
        json: bool,
    ) -> Self {
        Self {
            name,
            branch: false,
            sandbox: SandboxArgs { config: Some(config), backend, ..SandboxArgs::default() },
            dir: None,
            label: Vec::new(),
            ttl: None,
            description: None,
            json,
        }
    }

    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let purpose = Purpose::Create { dir: self.dir.as_deref() };
        let engine = context.engine();
        let named = match self.branch {
            true => Some(branch::name(&settings::current_dir()?)?),
            false => self.name,
        };
        if self.branch
            && let Some(name) = &named
            && let Some(there) = existing(context, &engine, name)?
        {
            return match self.json {
                true => context.printer.json(&there),
                false => context.printer.text(format_args!("'{name}' is there already")),
            };
        }
        let having = Having::Get { printer: &context.printer, json: self.json };
        let prepared = spec::prepare(&engine, context, &self.sandbox, purpose, having)?;
        let about = prepared.about;
        // Only to see that they are to be had: each start looks them up.
        let vault = self.sandbox.secrets.vault;
        drop(prepared.secrets.values(context, &vault)?);
        let name = named.or(about.name).ok_or_else(|| {
            Error::invalid("the sandbox has no name").with_hint("agentkernel sandbox create NAME")
        })?;
        context.tell(&prepared.notes, &prepared.remarks);
        let size = resources(&prepared.spec);
        let mut labels = about.labels;
        labels.retain(|label| !self.label.iter().any(|typed| typed.key == label.key));
        labels.extend(self.label);
        let request = CreateRequest {
            name,
            spec: prepared.spec,
            backend: about.backend,
            labels,
            ttl: self.ttl.or(about.ttl).filter(|ttl| !ttl.is_zero()),
            description: self.description.or(about.description),
        };
        let secrets = prepared.secrets;
        let info = context.block_on(async {
            let info = engine.create(request).await?;
            if let Err(error) = secrets::keep(context, &engine, &info, &secrets, &vault).await {
                // What could not be started is not there. The first error is the one to tell.
                let _ = engine.remove_made(&info).await;
                return Err(error);
            }
            Ok(info)
        })?;
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
        if let Some(help) = about.help_text {
            // Of a template, which others may have written.
            let lines = help
                .trim()
                .lines()
                .map(|line| format!("\n  {}", printable(&line.replace("NAME", name.as_str()))));
            text += &lines.collect::<String>();
        }
        context.printer.text(text)
    }
}

fn existing(context: &Context, engine: &Engine, name: &SandboxName) -> Result<Option<SandboxInfo>> {
    match context.block_on(engine.info(name)) {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn resources(spec: &SandboxSpec) -> String {
    fn of<T: Copy + Display>(limit: Option<Limit<T>>) -> String {
        limit.map_or_else(|| "no limit".to_owned(), |l| l.value().to_string())
    }
    let limits = &spec.policy.limits;
    format!("cpus {}, memory {}, profile {}", of(limits.cpus), of(limits.memory), spec.policy.profile)
}
