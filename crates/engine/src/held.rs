//! A sandbox that nobody else changes meanwhile: its lock first, then its record as it is now.

use crate::{
    directories::SandboxDir,
    engine::Engine,
    lock::{Lock, Reached},
    query, record,
};
use agentkernel_model::{Result, id::SandboxId, name::SandboxName};
use agentkernel_store::Record;

/// A sandbox that nobody else changes while this value lives, and its record as it is now.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) record: Record,
    pub(crate) dir: SandboxDir,
    pub(crate) lock: Lock,
}

/// What came of reaching for a sandbox without waiting.
#[derive(Debug)]
pub(crate) enum Attempt {
    Held(Box<Held>),
    /// Somebody is at work on it.
    Busy,
    /// It has no record any more.
    Gone,
}

/// The sandbox of that name, once whoever works on it is done.
///
/// # Errors
/// [`agentkernel_model::Kind::NotFound`], also when it was removed meanwhile; `Conflict` after two minutes.
pub(crate) async fn wait(engine: &Engine, name: &SandboxName) -> Result<Held> {
    let id = query::by_name(engine, name)?.id;
    let dir = SandboxDir::of(&engine.host, id);
    let lock = loop {
        if let Some(lock) = dir.lock(&format!("the sandbox '{name}'")).await? {
            break lock;
        }
        restore(engine, &dir, id)?.ok_or_else(|| record::no_such(name))?;
    };
    // What it was when it was found may be long ago.
    with_record(engine, dir, id, lock)?.ok_or_else(|| record::no_such(name))
}

/// As [`wait`], by id and without waiting.
pub(crate) fn attempt(engine: &Engine, id: SandboxId) -> Result<Attempt> {
    let dir = SandboxDir::of(&engine.host, id);
    let lock = loop {
        match dir.try_lock()? {
            Reached::Held(lock) => break lock,
            Reached::Busy => return Ok(Attempt::Busy),
            Reached::Missing => {}
        }
        if restore(engine, &dir, id)?.is_none() {
            return Ok(Attempt::Gone);
        }
    };
    let held = with_record(engine, dir, id, lock)?;
    Ok(held.map_or(Attempt::Gone, |held| Attempt::Held(Box::new(held))))
}

/// Makes a directory that was lost, so that its sandbox can still be removed; `None` when there is no record either.
fn restore(engine: &Engine, dir: &SandboxDir, id: SandboxId) -> Result<Option<()>> {
    match query::by_id(engine, id)? {
        Some(_) => dir.make().map(Some),
        None => Ok(None),
    }
}

fn with_record(engine: &Engine, dir: SandboxDir, id: SandboxId, lock: Lock) -> Result<Option<Held>> {
    match query::by_id(engine, id)? {
        Some(record) => Ok(Some(Held { record, dir, lock })),
        // Its remover was killed between the record and the directory, or we have just made the directory again.
        None => dir.remove().map(|()| None),
    }
}
