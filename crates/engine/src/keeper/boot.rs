//! Bringing a sandbox up, with everything that its keeper holds for it.

use super::{handover::Incoming, socket};
use crate::{
    boot as machine, clock, connections,
    detached::Place,
    directories::{self, SandboxDir},
    engine::Engine,
    guard, initscript, inside,
    lock::Lock,
    memory, outside,
    ports::Listeners,
    private, query, record, rootfs,
    step::step,
};
use agentkernel_backend::{Backend, CreateInputs, DriverState, Lease, Sandbox, admit::refused};
use agentkernel_egress::HostGateway;
use agentkernel_model::{Error, Kind, Result, id::SandboxId, name::SandboxName, port::PublishedPort};
use agentkernel_store::{Cached, Record, Started, Stopped, Writer};
use std::{fs::File, io::Write as _, sync::Arc, time::Duration};
use tokio::{
    net::UnixListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};

/// A sandbox that runs, and what this process holds for it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) id: SandboxId,
    pub(super) name: SandboxName,
    pub(super) dir: SandboxDir,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) state: DriverState,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) gateway: Option<Arc<HostGateway>>,
    pub(super) ports: JoinSet<()>,
    pub(super) listener: UnixListener,
    pub(super) terminate: Signal,
    pub(super) expires_at: Option<i64>,
    /// The fact that it runs.
    pub(super) lock: Lock,
    /// Its image, which nobody removes meanwhile.
    pub(super) image: Lease,
}

/// Starts the sandbox `id`. `inherited` is the starter's lock on the sandbox's operations, held until this returns.
/// `None`: it has a keeper already.
///
/// # Errors
/// After an error the sandbox is stopped and nothing of it is held.
pub(super) async fn boot(
    engine: &Engine,
    id: SandboxId,
    inherited: File,
    incoming: Incoming,
) -> Result<Option<Kept>> {
    // From the first moment, so that no signal can end this process between the start and the record of it.
    let terminate = signal(SignalKind::terminate()).map_err(|e| Error::io("cannot listen for signals", e))?;
    let dir = SandboxDir::of(&engine.host, id);
    let mut record = read(engine, id)?;
    let _operations = match Lock::adopt(inherited, &dir.operations())? {
        Some(lock) => lock,
        // Typed by hand: wait as any other command does, and see what it is then.
        None => {
            let lock = Lock::block(&dir.operations())?.ok_or_else(|| no_such(id))?;
            record = read(engine, id)?;
            lock
        }
    };
    record::check_finished(&record.name, record.intent)?;
    if record.is_expired(clock::now()) {
        return Err(record::expired(&record.name));
    }
    let Some(mut lock) = Lock::attempt_past_looks(&dir.keeping())? else { return Ok(None) };
    note_pid(&mut lock)?;
    let listener = socket::listen(&dir.path)?;
    bring_up(engine, record, Held { dir, lock, listener, terminate, incoming }).await.map(Some)
}

/// What is held before the sandbox runs.
struct Held {
    dir: SandboxDir,
    lock: Lock,
    listener: UnixListener,
    terminate: Signal,
    incoming: Incoming,
}

async fn bring_up(engine: &Engine, record: Record, held: Held) -> Result<Kept> {
    // Nothing runs in it: what its last keeper did not see end has ended with that one.
    Place::of(&held.dir).settle(record::lost(&record))?;
    let mut spec = record.spec()?;
    guard::look_again(&mut spec)?;
    private::cover(&engine.host, &mut spec)?;
    let backend = engine.backend(engine.registry.find(record.backend.as_str())?)?;
    let spec = inside::with_environment(&spec)?;
    let admitted = backend.admit(&spec).map_err(|refusals| refused(&backend.id(), &refusals))?;
    let origins = record::origins(&record, &engine.facts)?;
    let resolving = async { rootfs::resolve_again(engine, &spec, &origins.facts, origins.image.as_ref()) };
    let rootfs = step!("rootfs", resolving).await?;
    let listeners = Listeners::bind(&spec.ports).await?;
    let ports = listeners.ports();
    let observer = || connections::observe(engine, record.id, &record.name, &held.dir);
    let gateway = outside::gateway(engine, &spec.policy, observer)?;
    let unfinished =
        || Error::new(Kind::Conflict, format!("the sandbox '{}' was never finished", record.name));
    let mut state = record::decode_state(record.state.as_deref())?.ok_or_else(unfinished)?;
    if record.cached == Cached::Running {
        // Its last keeper was killed: let the backend clear away what that one held.
        state = backend.stop(record.id, &state, Duration::ZERO).await?;
        // Until everything is in place again, no command may run in it.
        let stopped = Stopped { state: &record::encode_state(&state)?, reason: None };
        Writer::open(&directories::database(&engine.host))?.set_stopped(record.id, stopped)?;
    }
    // Held by this process for as long as the sandbox runs: its image stays.
    let image = rootfs.clone();
    let inputs = CreateInputs { admitted, id: record.id, rootfs };
    let starting = backend.start(inputs, &state, outside::of_seam(gateway.as_ref()));
    let (state, sandbox) = step!("isolate", starting).await?;
    let ready = async {
        let user = spec.user.or(image.rootfs.defaults.user).unwrap_or_default();
        // Only now: process 1 may be a clone of this one, and nothing else is from here on.
        let values = held.incoming.receive(memory::keep_unseen).await?;
        values.check(&spec.policy, &format!("agentkernel sandbox start {}", record.name))?;
        let authority = outside::bind(gateway.as_ref(), &values)?;
        inside::furnish(sandbox.as_ref(), &spec, user, authority, &values).await?;
        initscript::once(&held.dir, sandbox.as_ref(), spec.init_script.as_deref()).await?;
        write(engine, record.id, &state, &ports)
    };
    if let Err(error) = step!("furnish", ready).await {
        // Not written down is not started. The first failure is the news.
        let _ = backend.stop(record.id, &state, Duration::ZERO).await;
        return Err(error);
    }
    Ok(Kept {
        id: record.id,
        name: record.name,
        dir: held.dir,
        ports: listeners.serve(&sandbox),
        backend,
        state,
        sandbox,
        gateway,
        listener: held.listener,
        terminate: held.terminate,
        expires_at: record.expires_at,
        lock: held.lock,
        image,
    })
}

fn read(engine: &Engine, id: SandboxId) -> Result<Record> {
    query::by_id(engine, id)?.ok_or_else(|| no_such(id))
}

fn no_such(id: SandboxId) -> Error {
    Error::new(Kind::NotFound, format!("there is no sandbox with the id {id}"))
        .with_hint("keepers are started by 'agentkernel sandbox start NAME'")
}

fn write(engine: &Engine, id: SandboxId, state: &DriverState, ports: &[PublishedPort]) -> Result<()> {
    let state = record::encode_state(state)?;
    let boot = machine::id();
    let started = Started { state: &state, boot_id: boot.as_deref(), ports };
    Writer::open(&directories::database(&engine.host))?.set_running(id, started)
}

/// For people, and for hints of errors; nothing depends on it.
fn note_pid(lock: &mut Lock) -> Result<()> {
    let file = lock.file();
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| Error::io("cannot write to the keeper's lock", e))
}
