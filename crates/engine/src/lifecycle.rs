//! Start, stop and remove: what changes a sandbox that exists, one command at a time.

use crate::lock::Lock;
use crate::{
    boot, clock,
    directories::{self, SandboxDir},
    engine::Engine,
    keeper, query, record,
    request::SandboxInfo,
};
use agentkernel_model::{Error, Kind, Result, name::SandboxName};
use agentkernel_store::{Cached, Intent, Record, Stopped, Writer};
use std::time::Duration;

/// A sandbox that nobody else changes while this value lives, and its record as it is now.
struct Held {
    record: Record,
    dir: SandboxDir,
    lock: Lock,
}

async fn hold(engine: &Engine, name: &SandboxName) -> Result<Held> {
    let found = query::by_name(engine, name)?;
    let dir = SandboxDir::of(&engine.host, found.id);
    let lock = dir.lock(&format!("the sandbox '{name}'")).await?;
    // What it was when it was found may be long ago.
    match query::by_id(engine, found.id)? {
        Some(record) => Ok(Held { record, dir, lock }),
        None => {
            // Waiting made a directory again that its remover had taken away.
            dir.remove()?;
            Err(record::no_such(name))
        }
    }
}

pub(crate) async fn start(engine: &Engine, name: &SandboxName) -> Result<SandboxInfo> {
    let held = hold(engine, name).await?;
    record::check_finished(name, held.record.intent)?;
    if held.dir.is_kept()? {
        return query::info(engine, name);
    }
    if held.record.is_expired(clock::now()) {
        return Err(record::expired(name));
    }
    keeper::launch(&engine.host, held.record.id, &held.lock).await?;
    query::info(engine, name)
}

pub(crate) async fn stop(engine: &Engine, name: &SandboxName, grace: Duration) -> Result<SandboxInfo> {
    let held = hold(engine, name).await?;
    record::check_finished(name, held.record.intent)?;
    if held.dir.is_kept()? {
        keeper::Client::connect(&held.dir).await?.stop(grace).await?;
    } else if held.record.cached == Cached::Running {
        settle(engine, &held.record).await?;
    }
    query::info(engine, name)
}

/// Clears away what a killed keeper left, and writes down that the sandbox is stopped.
async fn settle(engine: &Engine, record: &Record) -> Result<()> {
    let (_, reason) = record::status(record, &engine.host, clock::now())?;
    let backend = engine.backend(engine.registry.find(record.backend.as_str())?)?;
    let Some(state) = record::decode_state(record.state.as_deref())? else { return Ok(()) };
    let state = backend.stop(record.id, &state, Duration::ZERO).await?;
    let text = record::encode_state(&state)?;
    let stopped = Stopped { state: &text, reason: reason.as_deref() };
    Writer::open(&directories::database(&engine.host))?.set_stopped(record.id, stopped)
}

pub(crate) async fn remove(engine: &Engine, name: &SandboxName) -> Result<()> {
    let held = hold(engine, name).await?;
    erase(engine, &held.record, held.lock).await
}

/// Removes everything of `record`, the record last. `lock` is the proof that nobody else is at it.
///
/// # Errors
/// What was begun stays written down: doing it again continues.
pub(crate) async fn erase(engine: &Engine, record: &Record, lock: Lock) -> Result<()> {
    let dir = SandboxDir::of(&engine.host, record.id);
    let database = directories::database(&engine.host);
    let backend =
        engine.backend(engine.registry.find(record.backend.as_str()).map_err(|e| foreign(record, e))?)?;
    if record.intent != Some(Intent::Create) {
        Writer::open(&database)?.set_removing(record.id, &boot::this_process())?;
    }
    if dir.is_kept()? {
        keeper::Client::connect(&dir).await?.stop(Duration::ZERO).await?;
    }
    // The keeper may have moved the state on.
    let state = Writer::open(&database)?.reader().by_id(record.id)?.and_then(|now| now.state);
    let state = record::decode_state(state.as_deref())?;
    backend.destroy(record.id, state.as_ref()).await?;
    dir.remove()?;
    Writer::open(&database)?.delete(record.id)?;
    drop(lock);
    Ok(())
}

fn foreign(record: &Record, cause: Error) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("the sandbox '{}' belongs to the backend '{}'", record.name, record.backend),
    )
    .with_source(cause)
    .with_hint("use an agentkernel that has this backend")
}
