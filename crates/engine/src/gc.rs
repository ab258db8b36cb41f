//! Removing what nobody needs any more: what has expired, what was never finished, and what belongs to no record.

use crate::{
    clock,
    directories::{self, SandboxDir},
    engine::Engine,
    held::{self, Attempt},
    lifecycle,
    lock::Reached,
    query,
    reach::Answers,
    record,
    request::{Effect, Filter, GcReport, Status, Stopped},
};
use agentkernel_backend::{Backend, DriverState, Owned};
use agentkernel_model::{
    Error, Kind, Result,
    capabilities::Class,
    id::{BackendId, SandboxId},
};
use agentkernel_store::{Intent, Record};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

/// How long a backend that answers may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let mut answers = Answers::default();
    let everything = filter.labels.is_empty() && filter.project.is_none();
    // What backends and the data directory have is listed before the records: what is made in between is either not
    // among it, or has a record by then, or is held by its maker.
    let Inventory { mut strays, mute } = match everything {
        true => inventory(engine, &mut answers).await,
        false => Inventory::default(),
    };
    let mut leftovers: BTreeSet<SandboxId> =
        if everything { directories::all(&engine.host)?.into_iter().collect() } else { BTreeSet::new() };
    if !mute.is_empty() {
        // What nobody claims may be of a backend that did not say what it has.
        leftovers.retain(|id| !has_drivers_part(&SandboxDir::of(&engine.host, *id)));
    }
    let now = clock::now();
    let records = query::records(engine)?;
    tell_mute(mute, &records, &mut report);
    answers.ask(engine, records.iter().map(|record| &record.backend)).await;
    for record in records {
        strays.remove(&record.id);
        leftovers.remove(&record.id);
        let Some(find) = classify(engine, &record, stopped, now)? else { continue };
        let wanted = match find {
            Find::Unfinished => everything,
            Find::Useless => query::matches(&record, filter),
        };
        if wanted {
            clear_record(engine, &record, (find, stopped, effect), &answers, &mut report).await;
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

/// What comes of one record that is of no use any more. One whose backend does not answer is told and left as it is.
async fn clear_record(
    engine: &Engine,
    record: &Record,
    (find, stopped, effect): (Find, Stopped, Effect),
    answers: &Answers,
    report: &mut GcReport,
) {
    let silence = answers.silence(&record.backend);
    let effect = if silence.is_some() { Effect::DryRun } else { effect };
    let name = record.name.to_string();
    match (dispose(engine, record, stopped, effect).await, silence) {
        (Ok(false), _) => {}
        (Ok(true), Some(silence)) => report.skipped.push(format!("{name}: {silence}")),
        (Ok(true), None) if find == Find::Unfinished => report.orphans.push(name),
        (Ok(true), None) => report.removed.push(name),
        (Err(error), _) => report.failures.push(format!("{name}: {error}")),
    }
}

/// Whether a driver has been at work in it: its part is a directory, and the engine's own are all files.
fn has_drivers_part(dir: &SandboxDir) -> bool {
    let Ok(entries) = fs::read_dir(&dir.path) else { return true };
    // What cannot be told is left, as what is a driver's.
    entries
        .into_iter()
        .any(|entry| entry.and_then(|entry| entry.file_type()).map_or(true, |kind| kind.is_dir()))
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

/// What backends have, with records and without.
#[derive(Default)]
struct Inventory {
    strays: BTreeMap<SandboxId, Stray>,
    /// Backends that may have something and did not say what.
    mute: Vec<(BackendId, Mute)>,
}

/// Why a backend did not say what it has.
enum Mute {
    Silent(String),
    Failed(String),
}

/// What every local backend has.
async fn inventory(engine: &Engine, answers: &mut Answers) -> Inventory {
    let local = engine.registry.iter().filter(|driver| driver.class == Class::Local);
    // What is not on this machine left nothing on it.
    let built: Vec<(BackendId, Arc<dyn Backend>)> =
        local.filter_map(|driver| Some((BackendId::new(driver.id), engine.backend(driver).ok()?))).collect();
    answers.ask(engine, built.iter().map(|(id, _)| id)).await;
    let silent = answers.silent().filter(|(_, silence)| silence.kind() != Kind::NotFound);
    let mute = silent.map(|(id, silence)| (id.clone(), Mute::Silent(silence.to_string()))).collect();
    let mut inventory = Inventory { strays: BTreeMap::new(), mute };
    let answering = built.iter().filter(|(id, _)| answers.silence(id).is_none());
    for (id, backend, owned) in
        join_all(answering.map(|(id, backend)| async move { (id, backend, owned(backend).await) })).await
    {
        match owned {
            Ok(owned) => {
                let stray = |state| Stray { backend: Arc::clone(backend), state };
                inventory.strays.extend(owned.into_iter().map(|owned| (owned.id, stray(owned.state))));
            }
            Err(error) => {
                let failed = Mute::Failed(format!("backend '{id}' cannot say what it has: {error}"));
                inventory.mute.push((id.clone(), failed));
            }
        }
    }
    inventory
}

/// An engine that was never used here and does not work is a word, and no failure of what was asked for.
fn tell_mute(mute: Vec<(BackendId, Mute)>, records: &[Record], report: &mut GcReport) {
    for (id, why) in mute {
        match why {
            Mute::Failed(why) if records.iter().any(|record| record.backend == id) => {
                report.failures.push(why)
            }
            Mute::Silent(why) | Mute::Failed(why) => report.skipped.push(why),
        }
    }
}

async fn owned(backend: &Arc<dyn Backend>) -> Result<Vec<Owned>> {
    let late = |_| Error::new(Kind::Timeout, format!("it said nothing for {} seconds", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, backend.list_owned()).await.map_err(late)?
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
