//! A run's side of the pool: one warm sandbox, as long as its connection to the daemon lives.

use super::{
    key::{Build, Key},
    protocol::{self, Hello, Lent, Reply, Request, VERSION},
    recipe::{self, Recipe, Wish},
    socket,
};
use crate::{engine::Engine, outside};
use agentkernel_backend::{Backend, Lease, Pooling, Process, Sandbox};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec, spec::SandboxSpec};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

/// How long a run waits for the daemon's first word, and for the sandbox that it was lent: without them it would have
/// begun by now.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a run waits for a sandbox that is coming up. One of its own would be made beside that one, and take longer.
const COMING_UP: Duration = Duration::from_secs(3);

/// A sandbox that nobody ran anything in, ours alone.
#[derive(Debug)]
struct Borrowed {
    sandbox: Arc<dyn Sandbox>,
    /// The lease: when it is closed, by dropping it or by the end of this process, the daemon ends the sandbox.
    lease: BufReader<UnixStream>,
}

/// How a run begins.
pub(crate) enum Beginning {
    /// In a warm sandbox, in which its command was started.
    Warm(Process),
    /// On the ordinary road. Nothing has begun.
    Ordinary(Missed),
}

/// That the daemon had nothing. It makes such ones when this is dropped: not while a run that is waiting for its own needs
/// the same backend.
#[derive(Debug)]
pub(crate) struct Missed {
    _told: Option<BufReader<UnixStream>>,
}

/// Starts `command`, that of a run of `spec` on `backend`, in a warm sandbox, unless there is none, for whatever reason.
///
/// # Errors
/// Those of [`Sandbox::exec`]. From there on the run has no other road: the command may have begun.
pub(crate) async fn run(
    engine: &Engine,
    backend: &Arc<dyn Backend>,
    spec: &SandboxSpec,
    rootfs: &Lease,
    command: &ExecSpec,
) -> Result<Beginning> {
    if backend.pool() == Pooling::Pointless || recipe::obstacle(spec).is_some() {
        return Ok(Beginning::Ordinary(Missed { _told: None }));
    }
    match borrow(engine, backend, spec, rootfs).await {
        Ok(Loan::Sandbox(borrowed)) => {
            let process = borrowed.sandbox.exec(&recipe::command_in_warm(spec, command)).await?;
            Ok(Beginning::Warm(leased(process, borrowed)))
        }
        Ok(Loan::Nothing(missed)) => Ok(Beginning::Ordinary(missed)),
        // Whatever is wrong with the daemon.
        Err(_) => Ok(Beginning::Ordinary(Missed { _told: None })),
    }
}

enum Loan {
    Sandbox(Borrowed),
    Nothing(Missed),
}

async fn borrow(
    engine: &Engine,
    backend: &Arc<dyn Backend>,
    spec: &SandboxSpec,
    rootfs: &Lease,
) -> Result<Loan> {
    let Ok(stream) = within(PATIENCE, async { Ok(socket::connect(&engine.host).await) }).await? else {
        return Ok(Loan::Nothing(Missed { _told: None }));
    };
    // Only now is it worth the work.
    let recipe = Recipe::of(backend.id(), spec, rootfs, &engine.facts);
    let key =
        Key::of(&Build::this(&engine.host)?, &engine.host, &outside::files(engine), &recipe, &rootfs.rootfs)?;
    let mut stream = BufReader::new(stream);
    within(PATIENCE, greet(&mut stream, &key)).await?;
    let Some(lent) = within(COMING_UP, take(&mut stream)).await? else {
        let wish = Request::Want(Box::new(Wish { key, recipe }));
        within(PATIENCE, protocol::send(&mut stream, &wish)).await?;
        return Ok(Loan::Nothing(Missed { _told: Some(stream) }));
    };
    match within(PATIENCE, backend.attach(lent.id, &lent.state)).await? {
        Some(sandbox) => Ok(Loan::Sandbox(Borrowed { sandbox, lease: stream })),
        None => Ok(Loan::Nothing(Missed { _told: None })),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Err(Error::new(Kind::Timeout, "the daemon does not answer"));
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| late())
}

/// Asks for one of `key`; returns when the daemon has said that it is one of our version.
async fn greet(stream: &mut BufReader<UnixStream>, key: &Key) -> Result<()> {
    // In one go, so that the answers are one journey away.
    let mut words = protocol::line(&Request::Hello(Hello::ours()))?;
    words.extend(protocol::line(&Request::Take(key.clone()))?);
    stream.write_all(&words).await.map_err(|e| Error::io("cannot talk to the daemon", e))?;
    match protocol::receive(stream).await? {
        Some(Reply::Hello(theirs)) if theirs.version == VERSION => Ok(()),
        _ => Err(Error::internal("the daemon speaks another language")),
    }
}

/// What the daemon lends; `None` when it has none of the key, and none is coming up.
async fn take(stream: &mut BufReader<UnixStream>) -> Result<Option<Lent>> {
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
