//! Changing what a named sandbox is, short of its rules: what people wrote about it, and when it expires.

use crate::{
    clock, directories,
    engine::Engine,
    held::{self, Held},
    keeper, query, record,
    request::{SandboxInfo, SandboxUpdate},
};
use agentkernel_model::{Error, Kind, Result, id::SandboxId, name::SandboxName};
use agentkernel_store::Writer;
use std::time::Duration;

/// The end of the year 9999, which is as far as RFC 3339 goes.
const FOR_EVER: i64 = 253_402_300_799_000;

impl Engine {
    /// The sandbox of that id, as [`Engine::info`] has it.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub async fn info_by_id(&self, id: SandboxId) -> Result<SandboxInfo> {
        let record = query::by_id(self, id)?.filter(record::is_shown).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("there is no sandbox with the id {id}"))
                .with_hint("agentkernel sandbox list --json shows those that there are")
        })?;
        query::ask(self, &record.name).await
    }

    /// Changes labels and description, of a running sandbox as of a stopped one.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] while it is half made or half removed.
    pub async fn update(&self, name: &SandboxName, update: &SandboxUpdate) -> Result<SandboxInfo> {
        self.audit.watched(name, change(self, name, update).await)
    }

    /// Gives a sandbox more time: from now or from the end that it had, whichever is later. One that has expired and is
    /// not removed yet can be started again then.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Conflict`] when it does not expire, or is kept by an older version. Then nothing changed.
    pub async fn extend(&self, name: &SandboxName, by: Duration) -> Result<SandboxInfo> {
        self.audit.watched(name, extend(self, name, by).await)
    }
}

async fn whole(engine: &Engine, name: &SandboxName) -> Result<Held> {
    let held = held::wait(engine, name).await?;
    record::check_finished(name, held.record.intent)?;
    Ok(held)
}

async fn change(engine: &Engine, name: &SandboxName, update: &SandboxUpdate) -> Result<SandboxInfo> {
    let held = whole(engine, name).await?;
    let mut writer = Writer::open(&directories::database(&engine.host))?;
    if let Some(labels) = &update.labels {
        writer.set_labels(held.record.id, labels)?;
    }
    if let Some(description) = &update.description {
        writer.set_description(held.record.id, description.as_deref())?;
    }
    drop(writer);
    let info = query::info(engine, name)?;
    if *update != SandboxUpdate::default() {
        engine.audit.updated(name, &info.labels);
    }
    Ok(info)
}

async fn extend(engine: &Engine, name: &SandboxName, by: Duration) -> Result<SandboxInfo> {
    if by.is_zero() {
        return Err(Error::invalid("a sandbox cannot be given no time at all").with_hint("such as --by 1h"));
    }
    let held = whole(engine, name).await?;
    let Some(before) = held.record.expires_at else {
        return Err(Error::new(Kind::Conflict, format!("the sandbox '{name}' does not expire"))
            .with_hint("there is nothing to do; it is there until 'agentkernel sandbox remove'"));
    };
    let by = i64::try_from(by.as_millis()).unwrap_or(FOR_EVER);
    let after = before.max(clock::now()).saturating_add(by).min(FOR_EVER);
    let write = |at: i64| {
        let ttl = Duration::from_millis(u64::try_from(at - held.record.created_at).unwrap_or(0));
        Writer::open(&directories::database(&engine.host))?.set_expiry(held.record.id, at, ttl)
    };
    write(after)?;
    if held.dir.is_kept()?
        && let Err(error) = keeper::expiry(&held.dir).await
    {
        // What the record says is what happens.
        Writer::open(&directories::database(&engine.host))?.set_expiry(
            held.record.id,
            before,
            held.record.ttl.unwrap_or_default(),
        )?;
        return Err(error);
    }
    engine.audit.extended(name, &clock::rfc3339(after));
    query::info(engine, name)
}
