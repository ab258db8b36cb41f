//! A command in a running sandbox. The shortest road that there is: one SELECT, then the backend.

use crate::{
    clock, directories,
    engine::Engine,
    lifecycle, query, record,
    step::{self, step},
};
use agentkernel_backend::Process;
use agentkernel_model::{Error, Kind, Result, command::ExecSpec, id::SandboxId, name::SandboxName};
use agentkernel_store::{Cached, Handle, Reader};

/// With `made`, only where that is the one of the name.
pub(crate) async fn exec(
    engine: &Engine,
    name: &SandboxName,
    made: Option<SandboxId>,
    command: &ExecSpec,
) -> Result<Process> {
    let handle = step!("find", async { running(engine, name) }).await?;
    lifecycle::check_made(name, handle.id, made)?;
    let backend = engine.backend(engine.registry.find(handle.backend.as_str())?)?;
    let Some(state) = record::decode_state(handle.state.as_deref())? else {
        return Err(Error::internal(format!("the record of the sandbox '{name}' has no state")));
    };
    match step!("connect", backend.attach(handle.id, &state)).await? {
        Some(sandbox) => {
            let process = step!("start", sandbox.exec(command)).await?;
            Ok(step::until_end(step::span!("command"), process))
        }
        None => Err(not_running(engine, name)),
    }
}

/// The sandbox of that name, as far as its record says that commands may run in it.
pub(crate) fn running(engine: &Engine, name: &SandboxName) -> Result<Handle> {
    let reader = Reader::open(&directories::database(&engine.host))?.ok_or_else(|| record::no_such(name))?;
    let handle = reader.handle(name)?.ok_or_else(|| record::no_such(name))?;
    // Closed before anything is started: no connection lives on across a fork.
    drop(reader);
    record::check_finished(name, handle.intent)?;
    if handle.expires_at.is_some_and(|at| at <= clock::now()) {
        return Err(record::expired(name));
    }
    // One that is being started can be attached to before its secrets, its certificates and its init script are done.
    if handle.cached != Cached::Running {
        return Err(not_running(engine, name));
    }
    Ok(handle)
}

pub(crate) fn not_running(engine: &Engine, name: &SandboxName) -> Error {
    let why = query::info(engine, name).ok().and_then(|info| info.reason);
    let because = why.map(|why| format!(": {why}")).unwrap_or_default();
    Error::new(Kind::Conflict, format!("the sandbox '{name}' is not running{because}"))
        .with_hint(format!("agentkernel sandbox start {name}"))
}
