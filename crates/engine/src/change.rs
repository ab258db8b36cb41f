//! Changing what a named sandbox is, short of its rules: what people wrote about it, when it expires, its limits; and
//! bringing back what was lost.

use crate::{
    clock, directories,
    engine::Engine,
    held::{self, Held},
    keeper, query, record,
    record::reason,
    request::{Resize, SandboxInfo, SandboxUpdate, Status},
    values::Values,
};
use agentkernel_backend::admit::refused;
use agentkernel_model::{Error, Kind, Result, id::SandboxId, limits::Limit, name::SandboxName};
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

    /// Gives a sandbox other limits of memory and processors, while it runs too. File systems in memory keep the size that
    /// they have until the next start.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Unsupported`] where its backend cannot enforce them, or cannot change them;
    /// [`Kind::Conflict`] for less memory than it holds. Then nothing changed.
    pub async fn resize(&self, name: &SandboxName, wanted: &Resize) -> Result<SandboxInfo> {
        self.audit.watched(name, resize(self, name, wanted).await)
    }

    /// Starts a sandbox again that ended without being asked to: because its keeper was killed or told to end, the machine
    /// was restarted, or what it lives in ended. Its disk is as it was; commands that ran are not begun again. One that
    /// runs stays as it is.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when it was stopped on purpose, has expired, or never ran; those of [`Engine::start`].
    pub async fn recover(&self, name: &SandboxName, values: &Values) -> Result<SandboxInfo> {
        let info = query::ask(self, name).await?;
        let lost = [reason::KEEPER_ENDED, reason::REBOOT, reason::ENDED, reason::TERMINATED];
        match (info.status, info.reason.as_deref()) {
            (Status::Running, _) => Ok(info),
            (Status::Stopped, Some(why)) if lost.contains(&why) => self.start(name, values).await,
            (Status::Stopped, Some(reason::EXPIRED)) => Err(record::expired(name)),
            (Status::Stopped, _) => {
                Err(Error::new(Kind::Conflict, format!("the sandbox '{name}' was not lost, it is stopped"))
                    .with_hint(format!("agentkernel sandbox start {name}")))
            }
            (Status::Unknown, why) => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "the sandbox '{name}' cannot be looked at: {}",
                    why.unwrap_or("its backend is silent")
                ),
            )
            .with_hint("agentkernel doctor")),
        }
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

async fn resize(engine: &Engine, name: &SandboxName, wanted: &Resize) -> Result<SandboxInfo> {
    let held = whole(engine, name).await?;
    if *wanted == Resize::default() {
        return query::info(engine, name);
    }
    let before = held.record.spec()?;
    let mut spec = before.clone();
    let limits = &mut spec.policy.limits;
    limits.memory = wanted.memory.map(Limit::Required).or(limits.memory);
    limits.cpus = wanted.cpus.map(Limit::Required).or(limits.cpus);
    let backend = engine.backend(engine.registry.find(held.record.backend.as_str())?)?;
    backend.admit(&spec).map_err(|refusals| refused(&backend.id(), &refusals))?;
    let Some(state) = record::decode_state(held.record.state.as_deref())? else {
        return Err(Error::internal(format!("the record of the sandbox '{name}' has no state")));
    };
    let database = directories::database(&engine.host);
    Writer::open(&database)?.set_spec(held.record.id, &spec)?;
    if let Err(error) = backend.resize(held.record.id, &state, &spec.policy.limits).await {
        Writer::open(&database)?.set_spec(held.record.id, &before)?;
        if error.kind() != Kind::Unsupported {
            // A part may hold already. The first failure is the news.
            let _as_they_were = backend.resize(held.record.id, &state, &before.policy.limits).await;
        }
        return Err(error);
    }
    let limits = &spec.policy.limits;
    engine.audit.resized(name, limits.memory.map(Limit::value), limits.cpus.map(Limit::value));
    query::info(engine, name)
}
