//! What an agent can ask for.

mod command;
mod create;
mod detached;
mod exec;
mod files;
mod lifecycle;
mod place;
mod run;
mod schema;
mod shown;

use super::{answer::Answer, progress::Reporter};
use crate::App;
use agentkernel_model::{Error, Result, text::printable};
use futures_util::future::BoxFuture;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schema::{input, output};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// One call on its way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) arguments: JsonObject,
    pub(super) reporter: Reporter,
}

impl Call {
    /// The arguments as the tool's input schema has them.
    ///
    /// # Errors
    /// [`agentkernel_model::Kind::Invalid`], with the name of the argument that is wrong or unknown.
    fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let arguments = Value::Object(std::mem::take(&mut self.arguments));
        serde_path_to_error::deserialize(arguments).map_err(|e| {
            let (path, why) = (e.path().to_string(), printable(&e.inner().to_string()));
            let place = if path == "." { String::new() } else { format!("{}: ", printable(&path)) };
            Error::invalid(format!("wrong arguments: {place}{why}"))
                .with_hint("look at the tool's input schema; nothing was done")
        })
    }
}

/// What a tool does to the world, for whoever lets an agent use it.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// It looks only.
    Reads,
    /// It makes something new.
    Adds,
    /// What it does may take something away.
    Changes,
}

/// Whether doing it twice is doing it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Same,
    More,
}

/// Whether it may talk to other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    Here,
    Open,
}

/// A tool, under each of its names.
pub(super) struct Entry {
    /// The first is the one that its others point to.
    names: &'static [&'static str],
    title: &'static str,
    description: &'static str,
    effect: Effect,
    again: Again,
    world: World,
    input: fn() -> Arc<JsonObject>,
    output: fn() -> Arc<JsonObject>,
    run: fn(Call) -> BoxFuture<'static, Result<Answer>>,
}

impl Entry {
    pub(super) fn call(&self, call: Call) -> BoxFuture<'static, Result<Answer>> {
        (self.run)(call)
    }

    fn tools(&self) -> impl Iterator<Item = Tool> {
        let (read_only, destructive) = match self.effect {
            Effect::Reads => (true, false),
            Effect::Adds => (false, false),
            Effect::Changes => (false, true),
        };
        let annotations = ToolAnnotations::with_title(self.title)
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(self.again == Again::Same)
            .open_world(self.world == World::Open);
        self.names.iter().enumerate().map(move |(index, name)| {
            let description = match index {
                0 => self.description.to_owned(),
                _ => format!("Another name of {}. {}", self.names[0], self.description),
            };
            Tool::new(*name, description, (self.input)())
                .with_title(self.title)
                .with_raw_output_schema((self.output)())
                .with_annotations(annotations.clone())
        })
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let first = [&run::RUN, &create::CREATE, &exec::EXEC];
    first.into_iter().chain(lifecycle::ENTRIES).chain(files::ENTRIES).chain(detached::ENTRIES)
}

/// The tool called `name`.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    entries().find(|entry| entry.names.contains(&name))
}

/// Every tool, as clients are told of it.
pub(super) fn all() -> &'static [Tool] {
    static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| entries().flat_map(Entry::tools).collect());
    &ALL
}

#[cfg(test)]
#[path = "tools_tests.rs"]
mod tests;
