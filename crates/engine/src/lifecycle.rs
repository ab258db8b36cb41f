//! Start, stop and remove: what changes a sandbox that exists, one command at a time.

use crate::{
    boot, clock, directories,
    engine::Engine,
    held::{self, Held},
    keeper, query, reach, record,
    request::SandboxInfo,
    values::Values,
};
use agentkernel_model::{Error, Kind, Result, id::SandboxId, name::SandboxName};
use agentkernel_store::{Cached, Intent, Record, Stopped, Writer};
use std::time::Duration;

pub(crate) async fn start(engine: &Engine, name: &SandboxName, values: &Values) -> Result<SandboxInfo> {
    start_made(engine, name, None, values).await
}

/// With `made`, only where that is the one of the name.
pub(crate) async fn start_made(
    engine: &Engine,
    name: &SandboxName,
    made: Option<SandboxId>,
    values: &Values,
) -> Result<SandboxInfo> {
    let held = held::wait(engine, name).await?;
    check_made(name, held.record.id, made)?;
    record::check_finished(name, held.record.intent)?;
    // Kept is not yet running: a stop whose command was killed may be under way.
    if held.dir.is_kept()? && keeper::stays(&held.dir).await? {
        return query::info(engine, name);
    }
    if held.record.is_expired(clock::now()) {
        return Err(record::expired(name));
    }
    values.check(&held.record.spec()?.policy, &format!("agentkernel sandbox start {name}"))?;
    keeper::launch(&engine.host, held.record.id, &held.lock, values).await?;
    engine.audit.started(&held.record);
    query::info(engine, name)
}

pub(crate) async fn stop(engine: &Engine, name: &SandboxName, grace: Duration) -> Result<SandboxInfo> {
    stop_made(engine, name, None, grace).await
}

/// With `made`, only where that is the one of the name.
pub(crate) async fn stop_made(
    engine: &Engine,
    name: &SandboxName,
    made: Option<SandboxId>,
    grace: Duration,
) -> Result<SandboxInfo> {
    let held = held::wait(engine, name).await?;
    check_made(name, held.record.id, made)?;
    record::check_finished(name, held.record.intent)?;
    if held.dir.is_kept()? {
        keeper::stop(&held.dir, grace).await?;
        engine.audit.stopped(name, None);
    }
    // Still "running" is what a keeper leaves that was killed, or that could not write it down.
    match query::by_id(engine, held.record.id)? {
        Some(now) if now.cached == Cached::Running => settle(engine, &now).await?,
        _ => {}
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
    Writer::open(&directories::database(&engine.host))?.set_stopped(record.id, stopped)?;
    engine.audit.stopped(&record.name, reason.as_deref());
    Ok(())
}

pub(crate) async fn remove(engine: &Engine, name: &SandboxName) -> Result<()> {
    remove_made(engine, name, None).await
}

/// With `made`, only where that is the one of the name.
pub(crate) async fn remove_made(engine: &Engine, name: &SandboxName, made: Option<SandboxId>) -> Result<()> {
    let held = held::wait(engine, name).await?;
    check_made(name, held.record.id, made)?;
    erase(engine, held).await
}

/// Sees that `found` is the one that was made: somebody else may have removed that, and given the name again.
pub(crate) fn check_made(name: &SandboxName, found: SandboxId, made: Option<SandboxId>) -> Result<()> {
    if made.is_none_or(|made| made == found) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        format!("'{name}' was removed while it was being made, and is another now"),
    )
    .with_hint(format!("look at it with 'agentkernel sandbox info {name}', or choose another name")))
}

/// Removes everything of a sandbox: its files, then the record, then the directory with the lock.
///
/// # Errors
/// What was begun stays written down: doing it again continues.
pub(crate) async fn erase(engine: &Engine, held: Held) -> Result<()> {
    let Held { record, dir, lock } = held;
    let database = directories::database(&engine.host);
    let backend =
        engine.backend(engine.registry.find(record.backend.as_str()).map_err(|e| foreign(&record, e))?)?;
    reach::before_removal(engine, &record).await?;
    if record.intent != Some(Intent::Create) {
        Writer::open(&database)?.set_removing(record.id, &boot::this_process())?;
    }
    if dir.is_kept()? {
        keeper::stop(&dir, Duration::ZERO).await?;
    }
    // The keeper may have moved the state on.
    let state = Writer::open(&database)?.reader().by_id(record.id)?.and_then(|now| now.state);
    let state = record::decode_state(state.as_deref())?;
    backend.destroy(record.id, state.as_ref()).await?;
    // What can fail comes while there is a record to go on from.
    dir.clear()?;
    Writer::open(&database)?.delete(record.id)?;
    dir.remove()?;
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
