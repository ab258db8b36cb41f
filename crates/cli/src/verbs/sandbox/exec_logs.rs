//! `agentkernel sandbox exec-logs`.

use super::exec_kill::ended;
use crate::context::Context;
use agentkernel_engine::{
    detached::CommandEvent,
    request::{DetachedInfo, DetachedStream},
};
use agentkernel_model::{Error, Result, id::DetachedId, name::SandboxName, position::LogPosition};
use clap::Args;
use serde::Serialize;
use std::io::Read as _;

const EXAMPLES: &str = "\
Examples:
  agentkernel sandbox exec-logs my-project 0c2f91ab
  agentkernel sandbox exec-logs my-project 0c2f91ab --stderr | tail
  agentkernel sandbox exec-logs my-project 0c2f91ab --follow

What it wrote so far comes as it is. Of more than 16 MiB the newest part is kept, and a note on stderr says so.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExecLogs {
    /// The sandbox
    name: SandboxName,

    /// The command, as 'sandbox exec-list' shows it
    id: DetachedId,

    /// What it wrote to stderr instead of stdout
    #[arg(long)]
    stderr: bool,

    /// Go on with what comes, until the command ends
    #[arg(short, long, conflicts_with = "json")]
    follow: bool,

    /// Answer with one JSON object
    #[arg(long)]
    pub(in crate::verbs) json: bool,
}

impl ExecLogs {
    pub(super) fn execute(self, context: &Context) -> Result<()> {
        let engine = context.engine();
        let stream = if self.stderr { DetachedStream::Stderr } else { DetachedStream::Stdout };
        if self.follow {
            return context.block_on(self.follow(context, stream));
        }
        let mut log = engine.detached_logs(&self.name, &self.id, stream)?;
        let info = engine.detached(&self.name, &self.id)?;
        if self.json {
            let mut bytes = Vec::new();
            log.read_to_end(&mut bytes).map_err(|e| Error::io("cannot read the log", e))?;
            return context.printer.json(&Shown::of(&info, stream, &String::from_utf8_lossy(&bytes)));
        }
        let dropped = dropped(&info, stream);
        if dropped > 0 {
            lacks(context, dropped);
        }
        context.printer.copy(log)
    }

    async fn follow(&self, context: &Context, stream: DetachedStream) -> Result<()> {
        let engine = context.engine();
        let from = LogPosition::default();
        let mut following = engine.follow_detached(&self.name, &self.id, Some(stream), from)?;
        while let Some(event) = following.next().await? {
            match event {
                CommandEvent::Output { bytes, .. } => context.printer.copy(bytes.as_slice())?,
                CommandEvent::Gap { bytes, .. } => lacks(context, bytes),
                CommandEvent::Ended(info) => context.printer.note(ended(&info)),
            }
        }
        Ok(())
    }
}

fn lacks(context: &Context, bytes: u64) {
    context.printer.note(format_args!("{bytes} bytes of it are not in the log any more"));
}

const fn dropped(info: &DetachedInfo, stream: DetachedStream) -> u64 {
    match stream {
        DetachedStream::Stdout => info.stdout_dropped,
        DetachedStream::Stderr => info.stderr_dropped,
    }
}

/// One log; bytes that are no text are replaced.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: DetachedId,
    sandbox: &'a SandboxName,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<&'a str>,
    /// How many bytes there were that are not there any more.
    dropped: u64,
}

impl<'a> Shown<'a> {
    fn of(info: &'a DetachedInfo, stream: DetachedStream, text: &'a str) -> Self {
        let (stdout, stderr) = match stream {
            DetachedStream::Stdout => (Some(text), None),
            DetachedStream::Stderr => (None, Some(text)),
        };
        Self { id: info.id, sandbox: &info.sandbox, stdout, stderr, dropped: dropped(info, stream) }
    }
}
