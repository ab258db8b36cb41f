//! A run's side of the pool: one warm sandbox, as long as its connection to the daemon lives.

use super::{
    key::{Build, Key},
    protocol::{self, Hello, Lent, Reply, Request, VERSION},
    recipe::{self, Recipe, Wish},
    socket,
};
use crate::engine::Engine;
use agentkernel_backend::{Backend, Lease, Pooling, Process, Sandbox};
use agentkernel_model::{Error, Result, command::ExecSpec, spec::SandboxSpec};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

/// How long a run waits for the daemon and for the sandbox that it was lent: without them it would have begun by now.
const PATIENCE: Duration = Duration::from_millis(500);

/// A sandbox that nobody ran anything in, ours alone.
#[derive(Debug)]
struct Borrowed {
    sandbox: Arc<dyn Sandbox>,
    /// The lease: when it is closed, by dropping it or by the end of this process, the daemon ends the sandbox.
    lease: BufReader<UnixStream>,
}

/// Starts `command`, that of a run of `spec` on `backend`, in a warm sandbox. `None` for whatever reason there is none:
/// nothing has begun then.
///
/// # Errors
/// Those of [`Sandbox::exec`]. From there on the run has no other road: the command may have begun.
pub(crate) async fn run(
    engine: &Engine,
    backend: &Arc<dyn Backend>,
    spec: &SandboxSpec,
    rootfs: &Lease,
    command: &ExecSpec,
) -> Result<Option<Process>> {
    if backend.pool() == Pooling::Pointless || recipe::obstacle(spec).is_some() {
        return Ok(None);
    }
    let borrowed = tokio::time::timeout(PATIENCE, borrow(engine, backend, spec, rootfs)).await;
    let Ok(Ok(Some(borrowed))) = borrowed else { return Ok(None) };
    let process = borrowed.sandbox.exec(&recipe::command_in_warm(spec, command)).await?;
    Ok(Some(leased(process, borrowed)))
}

async fn borrow(
    engine: &Engine,
    backend: &Arc<dyn Backend>,
    spec: &SandboxSpec,
    rootfs: &Lease,
) -> Result<Option<Borrowed>> {
    let Ok(stream) = socket::connect(&engine.host).await else { return Ok(None) };
    // Only now is it worth the work.
    let recipe = Recipe::of(backend.id(), spec, rootfs, &engine.facts);
    let key = Key::of(&Build::this(&engine.host)?, &engine.host, &recipe, &rootfs.rootfs)?;
    let mut stream = BufReader::new(stream);
    let Some(lent) = take(&mut stream, &key).await? else {
        let wish = Request::Want(Box::new(Wish { key, recipe }));
        protocol::send(&mut stream, &wish).await?;
        return Ok(None);
    };
    let sandbox = backend.attach(lent.id, &lent.state).await?;
    Ok(sandbox.map(|sandbox| Borrowed { sandbox, lease: stream }))
}

/// What the daemon lends; `None` when it has none of `key`.
async fn take(stream: &mut BufReader<UnixStream>, key: &Key) -> Result<Option<Lent>> {
    // In one go, so that the answers are one journey away.
    let mut words = protocol::line(&Request::Hello(Hello::ours()))?;
    words.extend(protocol::line(&Request::Take(key.clone()))?);
    stream.write_all(&words).await.map_err(|e| Error::io("cannot talk to the daemon", e))?;
    match protocol::receive(stream).await? {
        Some(Reply::Hello(theirs)) if theirs.version == VERSION => {}
        _ => return Err(Error::internal("the daemon speaks another language")),
    }
    match protocol::receive(stream).await? {
        Some(Reply::Lent(lent)) => Ok(Some(lent)),
        Some(Reply::NoneWarm) => Ok(None),
        _ => Err(Error::internal("the daemon answered something else")),
    }
}

/// `process`, whose end is the end of the lease. The sandbox is the daemon's to remove, and nobody waits for that.
fn leased(process: Process, borrowed: Borrowed) -> Process {
    let Process { stdin, stdout, stderr, control, exit } = process;
    let exit = Box::pin(async move {
        let ended = exit.await;
        drop(borrowed.lease);
        drop(borrowed.sandbox);
        ended
    });
    Process { stdin, stdout, stderr, control, exit }
}
