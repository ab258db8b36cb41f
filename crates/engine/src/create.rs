//! Making a named sandbox. What was begun is written down first, so that no crash leaves something that nobody knows.

use crate::{
    boot, clock,
    directories::{self, SandboxDir},
    engine::Engine,
    held::{self, Attempt},
    inside, lifecycle, private, query, record,
    request::{CreateRequest, SandboxInfo},
    rootfs,
    select::{self, Selected},
};
use agentkernel_backend::{CreateInputs, Lease};
use agentkernel_model::{Error, Kind, Result, id::SandboxId};
use agentkernel_store::{Intent, NewRecord, Writer};

pub(crate) async fn create(engine: &Engine, request: CreateRequest) -> Result<SandboxInfo> {
    // What a backend makes has the variables of the policy as well, and covers what is ours: a container has at every start
    // what it was made with. The record has what was asked for.
    let mut whole = inside::with_environment(&request.spec)?;
    directories::ensure(&engine.host)?;
    private::cover(&engine.host, &mut whole)?;
    let mut selected = select::select(engine, &whole, request.backend.as_deref()).await?;
    loop {
        match attempt(engine, &request, &selected).await {
            Ok(()) => return query::info(engine, &request.name),
            Err(error) => selected = selected.after_failure(engine, &whole, error).await?,
        }
    }
}

async fn attempt(engine: &Engine, request: &CreateRequest, selected: &Selected) -> Result<()> {
    let rootfs = rootfs::resolve(engine, &request.spec)?;
    let id = SandboxId::new();
    let dir = SandboxDir::of(&engine.host, id);
    // Before the record: whoever finds it and can have this lock knows that nobody is at work on it.
    let _operations = dir.found()?;
    let made = match intend(engine, request, selected, id, &rootfs).await {
        Ok(()) => {
            let inputs = CreateInputs { admitted: selected.admitted.clone(), id, rootfs };
            finish(engine, selected, inputs).await
        }
        Err(error) => Err(error),
    };
    if made.is_err() {
        // The reason of the failure is the news; what cannot be removed now is found by gc.
        let _ = dir.remove();
    }
    made
}

/// Writes the intent down. A name that belongs to an interrupted `create` is taken over from it.
async fn intend(
    engine: &Engine,
    request: &CreateRequest,
    selected: &Selected,
    id: SandboxId,
    rootfs: &Lease,
) -> Result<()> {
    let database = directories::database(&engine.host);
    let context = record::encode_context(&engine.facts, &rootfs.rootfs.identity)?;
    let backend = selected.backend.id();
    let by = boot::this_process();
    let new = NewRecord {
        id,
        name: &request.name,
        backend: &backend,
        spec: &request.spec,
        context: Some(&context),
        labels: &request.labels,
        description: request.description.as_deref(),
        unenforced: selected.admitted.unenforced(),
        created_at: clock::now(),
        ttl: request.ttl.filter(|ttl| !ttl.is_zero()),
        by: &by,
    };
    let taken = match Writer::open(&database)?.insert_intent(&new) {
        Err(error) if error.kind() == Kind::AlreadyExists => error,
        other => return other,
    };
    let Some(holder) = Writer::open(&database)?.reader().by_name(&request.name)? else { return Err(taken) };
    if holder.intent != Some(Intent::Create) {
        return Err(taken);
    }
    match held::attempt(engine, holder.id)? {
        Attempt::Held(held) if held.record.intent == Some(Intent::Create) => {
            lifecycle::erase(engine, *held).await?;
        }
        // Finished since it was looked at.
        Attempt::Held(_) => return Err(taken),
        Attempt::Busy => return Err(being_created(&holder)),
        Attempt::Gone => {}
    }
    Writer::open(&database)?.insert_intent(&new)
}

fn being_created(holder: &agentkernel_store::Record) -> Error {
    let by = holder.intent_by.as_deref().unwrap_or("another process");
    Error::new(Kind::AlreadyExists, format!("the sandbox '{}' is being created by {by}", holder.name))
        .with_hint("choose another name, or wait")
}

/// Has the backend make it, and completes the record; after an error the record is gone again.
async fn finish(engine: &Engine, selected: &Selected, inputs: CreateInputs) -> Result<()> {
    let id = inputs.id;
    let database = directories::database(&engine.host);
    let state = match selected.backend.create(inputs).await {
        Ok(state) => state,
        Err(error) => {
            Writer::open(&database)?.delete(id)?;
            return Err(error);
        }
    };
    let completed = record::encode_state(&state)
        .and_then(|text| Writer::open(&database).and_then(|mut writer| writer.complete(id, &text)));
    if let Err(error) = completed {
        // While this fails the intent stays, and gc goes on from it.
        selected.backend.destroy(id, Some(&state)).await?;
        Writer::open(&database)?.delete(id)?;
        return Err(error);
    }
    Ok(())
}
