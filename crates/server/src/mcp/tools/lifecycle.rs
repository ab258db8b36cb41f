//! Named sandboxes: which there are, starting, stopping and removing them.

use super::{
    Again, Call, Effect, Entry, World, input, output,
    shown::{Removed, Sandbox, Sandboxes},
};
use crate::{
    fields::{duration, parsed},
    mcp::answer::Answer,
};
use agentkernel_engine::request::Filter;
use agentkernel_model::{Result, name::SandboxName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// How long a sandbox has to end by itself.
const GRACE: Duration = Duration::from_secs(10);

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        names: &["sandbox_list"],
        title: "List named sandboxes",
        description: "Lists the named sandboxes of this machine, with status, image and ports.",
        effect: Effect::Reads,
        again: Again::Same,
        world: World::Here,
        input: input::<Nothing>,
        output: output::<Sandboxes>,
        run: |mut call| {
            Box::pin(async move {
                let Nothing {} = call.read()?;
                list(call).await
            })
        },
    },
    Entry {
        names: &["sandbox_start"],
        title: "Start a sandbox",
        description: "Starts a named sandbox that is stopped. Its files are as they were. One that runs stays as it is.",
        effect: Effect::Adds,
        again: Again::Same,
        world: World::Here,
        input: input::<Named>,
        output: output::<Sandbox>,
        run: |mut call| {
            Box::pin(async move {
                let name = call.name()?;
                start(call, name).await
            })
        },
    },
    Entry {
        names: &["sandbox_stop"],
        title: "Stop a sandbox",
        description: "Stops a named sandbox: its processes end, its files stay for the next sandbox_start.",
        effect: Effect::Changes,
        again: Again::Same,
        world: World::Here,
        input: input::<Named>,
        output: output::<Sandbox>,
        run: |mut call| {
            Box::pin(async move {
                let name = call.name()?;
                stop(call, name).await
            })
        },
    },
    Entry {
        names: &["sandbox_remove"],
        title: "Remove a sandbox",
        description: "Removes a named sandbox for good, with its processes and files. Do so when a task is done with it.",
        effect: Effect::Changes,
        again: Again::Same,
        world: World::Here,
        input: input::<Named>,
        output: output::<Removed>,
        run: |mut call| {
            Box::pin(async move {
                let name = call.name()?;
                remove(call, name).await
            })
        },
    },
    Entry {
        names: &["sandbox_extend_ttl"],
        title: "Give a sandbox more time",
        description: "Gives a named sandbox that was made with a ttl more time before it is removed.",
        effect: Effect::Adds,
        again: Again::More,
        world: World::Here,
        input: input::<More>,
        output: output::<Sandbox>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                extend(call, arguments).await
            })
        },
    },
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct More {
    /// The sandbox's name.
    name: String,
    /// How much, such as 30m or 2h; 1h without it.
    #[serde(default)]
    by: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A sandbox by its name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    /// The sandbox's name.
    name: String,
}

impl Call {
    fn name(&mut self) -> Result<SandboxName> {
        parsed("name", &self.read::<Named>()?.name)
    }
}

async fn list(call: Call) -> Result<Answer> {
    let found = call.app.engine.list(&Filter::default()).await?;
    let sandboxes: Vec<Sandbox> = found.into_iter().map(Sandbox::from).collect();
    let lines: Vec<String> = sandboxes.iter().map(Sandbox::line).collect();
    let text = if lines.is_empty() { "There are no named sandboxes".to_owned() } else { lines.join("\n") };
    Ok(Answer::new(text, &Sandboxes { count: sandboxes.len(), sandboxes }))
}

async fn start(call: Call, name: SandboxName) -> Result<Answer> {
    let started = call.app.prepare(move |app| async move { app.start(&name).await }).await??;
    let sandbox = Sandbox::from(started);
    Ok(Answer::new(format!("Started {}", sandbox.line()), &sandbox))
}

async fn stop(call: Call, name: SandboxName) -> Result<Answer> {
    let app = Arc::clone(&call.app);
    let stopping = async move { app.engine.stop(&name, GRACE).await };
    let sandbox = Sandbox::from(call.app.calls.finish(stopping).await?);
    Ok(Answer::new(format!("Stopped {}", sandbox.line()), &sandbox))
}

async fn remove(call: Call, name: SandboxName) -> Result<Answer> {
    let (app, removing) = (Arc::clone(&call.app), name.clone());
    call.app.calls.finish(async move { app.engine.remove(&removing).await }).await?;
    let removed = Removed { name: name.to_string(), removed: true };
    Ok(Answer::new(format!("Removed {name}"), &removed))
}

async fn extend(call: Call, arguments: More) -> Result<Answer> {
    let name: SandboxName = parsed("name", &arguments.name)?;
    let by = duration("by", arguments.by.as_deref().unwrap_or("1h"))?;
    let app = Arc::clone(&call.app);
    let extending = async move { app.engine.extend(&name, by).await };
    let sandbox = Sandbox::from(call.app.calls.finish(extending).await?);
    Ok(Answer::new(sandbox.line(), &sandbox))
}
