//! Commands of named sandboxes that nobody waits for.

use super::{Again, Call, Effect, Entry, World, command, input, output};
use crate::{
    fields::parsed,
    mcp::{answer::Answer, clip::Clip},
};
use agentkernel_engine::request::{DetachedInfo, DetachedStatus, DetachedStream};
use agentkernel_model::{Error, Result, id::DetachedId, name::SandboxName, text::printable};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{io::Read as _, sync::Arc};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        names: &["sandbox_exec_detach"],
        title: "Start a background command",
        description: "Starts a command in a named sandbox and does not wait for it: for servers and long builds. Answers with \
                      its id, which sandbox_exec_status, sandbox_exec_logs and sandbox_exec_kill take. It ends with the \
                      sandbox.",
        effect: Effect::Changes,
        again: Again::More,
        world: World::Open,
        input: input::<Begin>,
        output: output::<Detached>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                begin(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_exec_status"],
        title: "Look at a background command",
        description: "Whether a background command of a named sandbox still runs, and how it ended.",
        effect: Effect::Reads,
        again: Again::Same,
        world: World::Here,
        input: input::<One>,
        output: output::<Detached>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                status(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_exec_logs"],
        title: "Read what a background command wrote",
        description: "What a background command of a named sandbox wrote so far, to one of its two streams. Of more than \
                      16,000 bytes both ends are shown.",
        effect: Effect::Reads,
        again: Again::Same,
        world: World::Here,
        input: input::<Logs>,
        output: output::<Log>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                logs(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_exec_kill"],
        title: "End a background command",
        description: "Ends a background command of a named sandbox, and what it started. Ending what has ended succeeds.",
        effect: Effect::Changes,
        again: Again::Same,
        world: World::Here,
        input: input::<One>,
        output: output::<Detached>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                kill(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_exec_list"],
        title: "List background commands",
        description: "Lists the background commands of a named sandbox: those that run and the newest that have ended.",
        effect: Effect::Reads,
        again: Again::Same,
        world: World::Here,
        input: input::<All>,
        output: output::<List>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                list(call, arguments).await
            })
        },
    },
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Begin {
    /// The sandbox's name.
    name: String,
    /// The program and its arguments. A shell line is ["sh", "-c", "LINE"].
    #[schemars(length(min = 1))]
    command: Vec<String>,
    /// Variables of the command's environment, each as KEY=VALUE.
    #[serde(default)]
    env: Option<Vec<String>>,
    /// The directory that it starts in, inside.
    #[serde(default)]
    workdir: Option<String>,
    /// Whether it runs as root inside. Only where the server was started with --allow-sudo.
    #[serde(default)]
    sudo: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct One {
    /// The sandbox's name.
    name: String,
    /// The command's id, from sandbox_exec_detach.
    id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Logs {
    /// The sandbox's name.
    name: String,
    /// The command's id, from sandbox_exec_detach.
    id: String,
    /// stdout without it.
    #[serde(default)]
    #[schemars(extend("enum" = ["stdout", "stderr"]))]
    stream: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct All {
    /// The sandbox's name.
    name: String,
}

/// A background command.
#[derive(Debug, Serialize, JsonSchema)]
struct Detached {
    id: String,
    sandbox: String,
    command: Vec<String>,
    /// `running`, `completed` (with code 0) or `failed`.
    status: &'static str,
    /// None while it runs, and when nobody saw its end.
    exit_code: Option<u8>,
    /// Why it ended, where the code does not say it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// RFC 3339, UTC.
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

impl From<DetachedInfo> for Detached {
    fn from(info: DetachedInfo) -> Self {
        Self {
            id: info.id.to_string(),
            sandbox: info.sandbox.to_string(),
            command: info.command,
            status: match info.status {
                DetachedStatus::Running => "running",
                DetachedStatus::Completed => "completed",
                DetachedStatus::Failed => "failed",
            },
            exit_code: info.exit_code,
            reason: info.reason,
            started_at: info.started_at,
            ended_at: info.ended_at,
        }
    }
}

impl Detached {
    /// One line.
    fn line(&self) -> String {
        let how = match (self.exit_code, &self.reason) {
            (Some(code), Some(why)) => format!(" with code {code}, {why}"),
            (Some(code), None) => format!(" with code {code}"),
            (None, Some(why)) => format!(", {why}"),
            (None, None) => String::new(),
        };
        format!("{} {}{how}: {}", self.id, self.status, printable(&self.command.join(" ")))
    }

    fn answer(self) -> Answer {
        Answer::new(self.line(), &self)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct List {
    commands: Vec<Detached>,
    count: usize,
}

/// What a background command wrote.
#[derive(Debug, Serialize, JsonSchema)]
struct Log {
    id: String,
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// Both ends of it, where it is longer than 16,000 bytes.
    content: String,
    /// How many bytes there are.
    bytes: u64,
    truncated: bool,
}

impl One {
    fn parse(&self) -> Result<(SandboxName, DetachedId)> {
        Ok((parsed("name", &self.name)?, parsed("id", &self.id)?))
    }
}

async fn begin(call: Call, arguments: Begin) -> Result<Answer> {
    let name: SandboxName = parsed("name", &arguments.name)?;
    let manner = command::Manner { env: arguments.env, workdir: arguments.workdir, sudo: arguments.sudo };
    let spec = command::named(&call.app, arguments.command, &[], manner)?;
    let app = Arc::clone(&call.app);
    let beginning = async move { app.engine.exec_detached(&name, &spec).await };
    Ok(Detached::from(call.app.calls.finish(beginning).await?).answer())
}

async fn status(call: Call, arguments: One) -> Result<Answer> {
    let (name, id) = arguments.parse()?;
    let info = call.app.blocking(move |engine| engine.detached(&name, &id)).await?;
    Ok(Detached::from(info).answer())
}

async fn kill(call: Call, arguments: One) -> Result<Answer> {
    let (name, id) = arguments.parse()?;
    let app = Arc::clone(&call.app);
    let killing = async move { app.engine.detached_kill(&name, &id).await };
    Ok(Detached::from(call.app.calls.finish(killing).await?).answer())
}

async fn list(call: Call, arguments: All) -> Result<Answer> {
    let name: SandboxName = parsed("name", &arguments.name)?;
    let found = call.app.blocking(move |engine| engine.detached_list(&name)).await?;
    let commands: Vec<Detached> = found.into_iter().map(Detached::from).collect();
    let lines: Vec<String> = commands.iter().map(Detached::line).collect();
    let text =
        if lines.is_empty() { "There are no background commands".to_owned() } else { lines.join("\n") };
    Ok(Answer::new(text, &List { count: commands.len(), commands }))
}

async fn logs(call: Call, arguments: Logs) -> Result<Answer> {
    let (name, id) = One { name: arguments.name, id: arguments.id }.parse()?;
    let stream = match arguments.stream.as_deref() {
        None | Some("stdout") => DetachedStream::Stdout,
        Some("stderr") => DetachedStream::Stderr,
        Some(other) => {
            let what = format!("stream: '{}' is neither stdout nor stderr", printable(other));
            return Err(Error::invalid(what));
        }
    };
    let reading = move |engine: &agentkernel_engine::Engine| {
        let mut log = engine.detached_logs(&name, &id, stream)?;
        let (mut clip, mut buffer) = (Clip::default(), vec![0; 64 * 1024]);
        loop {
            match log.read(&mut buffer).map_err(|e| Error::io("cannot read a log", e))? {
                0 => return Ok(clip),
                length => clip.push(&buffer[..length]),
            }
        }
    };
    let clip = call.app.blocking(reading).await?;
    let (content, truncated) = (clip.text(), clip.is_cut());
    let text = if content.is_empty() { "(no output)".to_owned() } else { content.clone() };
    let log = Log { id: id.to_string(), stream: stream.as_str(), content, bytes: clip.total(), truncated };
    Ok(Answer::of_command(text, &log))
}
