//! Which backends answer. The sandboxes of one that does not cannot be looked at: they are shown as unknown, and nothing
//! of theirs is touched.

use crate::engine::Engine;
use agentkernel_model::{Error, Kind, Result, id::BackendId, name::SandboxName, text::printable};
use agentkernel_store::Record;
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a backend may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Backends by the name that records have, and why those of them that do not answer do not.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<BackendId, Option<Error>>);

impl Answers {
    /// Asks each of `ids` that was not asked before, once, and all at the same time.
    pub(crate) async fn ask<'a>(&mut self, engine: &Engine, ids: impl IntoIterator<Item = &'a BackendId>) {
        let new: BTreeSet<&BackendId> = ids.into_iter().filter(|id| !self.0.contains_key(id)).collect();
        let answers = join_all(new.iter().map(|id| answer(engine, id))).await;
        self.0.extend(new.into_iter().cloned().zip(answers.into_iter().map(Result::err)));
    }

    /// Only what can be told without asking: whether this build has `id`.
    pub(crate) fn of_build(engine: &Engine, id: &BackendId) -> Self {
        let missing = engine.registry.find(id.as_str()).is_err().then(|| not_in_build(id));
        Self(BTreeMap::from([(id.clone(), missing)]))
    }

    /// Why `id` cannot be asked; `None`: it answers.
    pub(crate) fn silence(&self, id: &BackendId) -> Option<&Error> {
        self.0.get(id)?.as_ref()
    }

    /// Every backend that does not answer, and why.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (&BackendId, &Error)> {
        self.0.iter().filter_map(|(id, silence)| Some((id, silence.as_ref()?)))
    }
}

/// Whether the backend `id` answers.
///
/// # Errors
/// Why it does not. [`Kind::NotFound`]: there is nothing of it on this machine.
async fn answer(engine: &Engine, id: &BackendId) -> Result<()> {
    let driver = engine.registry.find(id.as_str()).map_err(|_| not_in_build(id))?;
    let backend = engine.backend(driver).map_err(|error| silent(id, "cannot be used here", &error))?;
    match tokio::time::timeout(PATIENCE, backend.reach()).await {
        Ok(answer) => answer.map_err(|error| silent(id, "does not answer", &error)),
        Err(_) => Err(Error::new(
            Kind::Timeout,
            format!("backend '{id}' does not answer: it said nothing for {} seconds", PATIENCE.as_secs()),
        )
        .with_hint("see whether its server hangs, and start it anew")),
    }
}

fn silent(id: &BackendId, what: &str, error: &Error) -> Error {
    // What a server says of itself is not ours.
    let why = printable(&error.to_string());
    let silent = Error::new(error.kind(), format!("backend '{id}' {what}: {why}"));
    silent.with_hint(error.hint().unwrap_or("agentkernel doctor"))
}

fn not_in_build(id: &BackendId) -> Error {
    Error::new(Kind::Unavailable, format!("this build has no backend '{}'", printable(id.as_str())))
        .with_hint("use an agentkernel that has this backend")
}

/// Sees that the backend of `record` answers, before anything of it is changed: what fails half-way cannot be used any
/// more.
///
/// # Errors
/// Why `name` cannot be removed now, and how to bring its backend back.
pub(crate) async fn before_removal(engine: &Engine, record: &Record) -> Result<()> {
    answer(engine, &record.backend).await.map_err(|error| {
        let name: &SandboxName = &record.name;
        let refused =
            Error::new(Kind::Unavailable, format!("the sandbox '{name}' cannot be removed: {error}"));
        refused.with_hint(error.hint().unwrap_or("agentkernel doctor"))
    })
}
