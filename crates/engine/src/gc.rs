//! Removing what nobody needs any more: what has expired, what was never finished, and what belongs to no record.

use crate::{
    clock,
    directories::{self, SandboxDir},
    engine::Engine,
    held::{self, Attempt},
    lifecycle,
    lock::Reached,
    query, record,
    request::{Effect, Filter, GcReport, Status, Stopped},
};
use agentkernel_backend::{Backend, DriverState};
use agentkernel_model::{Error, Result, capabilities::Class, id::SandboxId};
use agentkernel_store::{Intent, Record};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Something that a backend knows of and no record does.
struct Stray {
    backend: Arc<dyn Backend>,
    state: DriverState,
}

pub(crate) async fn gc(
    engine: &Engine,
    filter: &Filter,
    stopped: Stopped,
    effect: Effect,
) -> Result<GcReport> {
    let mut report = GcReport::default();
    let everything = filter.labels.is_empty() && filter.project.is_none();
    // What backends and the data directory have is listed before the records: what is made in between is either not
    // among it, or has a record by then, or is held by its maker.
    let mut strays = if everything { strays(engine, &mut report).await } else { BTreeMap::new() };
    let mut leftovers: BTreeSet<SandboxId> =
        if everything { directories::all(&engine.host)?.into_iter().collect() } else { BTreeSet::new() };
    let now = clock::now();
    for record in query::records(engine)? {
        strays.remove(&record.id);
        leftovers.remove(&record.id);
        let Some(find) = classify(engine, &record, stopped, now)? else { continue };
        let wanted = match find {
            Find::Unfinished => everything,
            Find::Useless => query::matches(&record, filter),
        };
        if !wanted {
            continue;
        }
        match dispose(engine, &record, stopped, effect).await {
            Ok(false) => {}
            Ok(true) if find == Find::Unfinished => report.orphans.push(record.name.to_string()),
            Ok(true) => report.removed.push(record.name.to_string()),
            Err(error) => report.failures.push(format!("{}: {error}", record.name)),
        }
    }
    for (id, stray) in strays {
        leftovers.remove(&id);
        note(&mut report, id, clear_stray(engine, id, Some(&stray), effect).await);
    }
    for id in leftovers {
        note(&mut report, id, clear_stray(engine, id, None, effect).await);
    }
    report.count = report.removed.len() + report.orphans.len();
    Ok(report)
}

fn note(report: &mut GcReport, id: SandboxId, cleared: Result<bool>) {
    match cleared {
        Ok(true) => report.orphans.push(id.to_string()),
        Ok(false) => {}
        Err(error) => report.failures.push(format!("{id}: {error}")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Find {
    /// A creation or removal that was interrupted; whether it was, its lock says.
    Unfinished,
    Useless,
}

/// What `record` is to gc; `None`: nothing.
fn classify(engine: &Engine, record: &Record, stopped: Stopped, now: i64) -> Result<Option<Find>> {
    if record.intent.is_some() {
        return Ok(Some(Find::Unfinished));
    }
    if record.is_expired(now) {
        return Ok(Some(Find::Useless));
    }
    let (status, _) = record::status(record, &engine.host, now)?;
    let useless = stopped == Stopped::Remove && status == Status::Stopped;
    Ok(useless.then_some(Find::Useless))
}

/// Removes it, unless somebody is at work on it: `false`.
async fn dispose(engine: &Engine, seen: &Record, stopped: Stopped, effect: Effect) -> Result<bool> {
    // Meanwhile it may have been started, removed or finished.
    let Attempt::Held(held) = held::attempt(engine, seen.id)? else { return Ok(false) };
    if classify(engine, &held.record, stopped, clock::now())?.is_none() {
        return Ok(false);
    }
    if effect == Effect::Apply {
        lifecycle::erase(engine, *held).await?;
    }
    Ok(true)
}

/// What every local backend has. One that cannot be asked is a failure of its own, not of the rest.
async fn strays(engine: &Engine, report: &mut GcReport) -> BTreeMap<SandboxId, Stray> {
    let mut strays = BTreeMap::new();
    for driver in engine.registry.iter().filter(|driver| driver.class == Class::Local) {
        // What is not on this machine left nothing on it.
        let Ok(backend) = engine.backend(driver) else { continue };
        match backend.list_owned().await {
            Ok(owned) => {
                let stray = |state| Stray { backend: Arc::clone(&backend), state };
                strays.extend(owned.into_iter().map(|owned| (owned.id, stray(owned.state))));
            }
            Err(error) => report.failures.push(format!("backend '{}': {error}", driver.id)),
        }
    }
    strays
}

/// Removes what has no record, unless somebody holds it: `false`.
async fn clear_stray(engine: &Engine, id: SandboxId, stray: Option<&Stray>, effect: Effect) -> Result<bool> {
    let dir = SandboxDir::of(&engine.host, id);
    let _lock = match dir.try_lock()? {
        Reached::Held(lock) => Some(lock),
        Reached::Busy => return Ok(false),
        // Whoever makes a sandbox makes its directory first, so nobody is at work on what has none.
        Reached::Missing => None,
    };
    // Its maker may have finished, or its remover, since the records were read.
    let finished = query::by_id(engine, id)?.is_some();
    if finished || (stray.is_none() && !dir.path.exists()) {
        return Ok(false);
    }
    if dir.is_kept()? {
        return Err(Error::internal("it has a keeper but no record").with_hint("end that process"));
    }
    if effect == Effect::Apply {
        if let Some(stray) = stray {
            stray.backend.destroy(id, Some(&stray.state)).await?;
        }
        dir.remove()?;
    }
    Ok(true)
}

/// Records of interrupted work, for `doctor`.
pub(crate) fn is_interrupted(engine: &Engine, record: &Record) -> Result<bool> {
    let unfinished = matches!(record.intent, Some(Intent::Create | Intent::Remove));
    Ok(unfinished && !crate::lock::is_held(&SandboxDir::of(&engine.host, record.id).operations())?)
}
