//! The daemon's process, from its start to its end.

use super::{
    door::{self, Outcome, Reception},
    pool::Pool,
    protocol::{self, Order, Phase, Report, WireError},
    socket,
};
use crate::{directories, engine::Engine, lock::Lock};
use agentkernel_model::{Error, Kind, Result};
use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Demands that wait for the pool.
const QUEUE: usize = 32;
/// How long the last answers may take to be read, once all is over.
const FAREWELL: Duration = Duration::from_secs(5);
/// The longest order.
const MAX_ORDER: u64 = 4 * 1024 * 1024;

/// What became of a daemon that was to run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It ran, and has ended.
    ToTheEnd,
    /// There is another one.
    Redundant,
}

/// Is the daemon, until it is stopped. `ready` is called when it listens and everything that was named is warm.
///
/// # Errors
/// Why it could not start, or something that was named did not come up; why it could not end in order.
pub(super) async fn serve(engine: &Engine, order: Order, ready: impl FnOnce()) -> Result<Served> {
    order.check()?;
    let mut signals = Terminations::watch()?;
    directories::ensure(&engine.host)?;
    let Some(mut lock) = Lock::attempt_past_looks(&socket::lock(&engine.host))? else {
        return Ok(Served::Redundant);
    };
    let listener = socket::listen(&engine.host)?;
    note_pid(&mut lock)?;
    let (demands, demanded) = mpsc::channel(QUEUE);
    let (phase, _) = watch::channel(Phase::Running);
    let (outcome, settled) = watch::channel(Outcome::None);
    let pool = Pool::new(engine, order.size, order.named, phase)?;
    let mut door = JoinSet::new();
    door.spawn(door::receive_all(listener, Reception { demands, outcome: settled }));
    let ended = pool.run(demanded, async || signals.next().await, ready).await;
    // In this order: whoever sees the lock free may start another one at once, with a socket of its own.
    socket::forget(&engine.host).map_err(|e| Error::io("cannot remove the daemon's socket", e))?;
    drop(lock);
    let (failures, ended) = match ended {
        Ok(failures) => (failures, Ok(Served::ToTheEnd)),
        Err(error) => (Vec::new(), Err(error)),
    };
    outcome.send_replace(Some(failures));
    let _late = tokio::time::timeout(FAREWELL, door.join_next()).await;
    ended
}

/// As [`serve`], for a process that was started for it: the order comes through stdin, the report goes to stdout.
///
/// # Errors
/// As [`serve`]; the one who started this process has been told as well.
pub(super) async fn serve_apart(engine: &Engine) -> Result<()> {
    leave_the_terminal()?;
    let (order, report) = take_streams()?;
    let pid = std::process::id();
    let mut pipe = Some(report);
    let served = match read(order) {
        Ok(order) => serve(engine, order, || tell(&mut pipe, &Report::Ready { pid })).await,
        Err(error) => Err(error),
    };
    match &served {
        // Nothing was told yet: it was stopped before everything was warm.
        Ok(Served::ToTheEnd) => {
            let stopped = Error::new(Kind::Cancelled, "the daemon was stopped while it started");
            tell(&mut pipe, &Report::Failed(WireError::from(&stopped)));
        }
        Ok(Served::Redundant) => tell(&mut pipe, &Report::Redundant),
        Err(error) => tell(&mut pipe, &Report::Failed(WireError::from(error))),
    }
    served.map(drop)
}

fn read(order: File) -> Result<Order> {
    let mut bytes = Vec::new();
    let read = order.take(MAX_ORDER).read_to_end(&mut bytes);
    read.map_err(|e| Error::io("cannot read what the daemon is to do", e))?;
    protocol::parse(&bytes)
}

/// Tells the one who started us, at most once, and closes the pipe. Nobody may be there any more: the daemon was asked for
/// all the same.
fn tell(pipe: &mut Option<File>, report: &Report) {
    if let Some(mut pipe) = pipe.take() {
        let _nobody_there = protocol::line(report).map(|bytes| pipe.write_all(&bytes));
    }
}

/// A session of its own: no hangup and no Ctrl-C of the terminal in which it happened to be started.
fn leave_the_terminal() -> Result<()> {
    match rustix::process::setsid() {
        // The leader of a process group, as when the verb is typed into a shell, cannot leave and need not.
        Ok(_) | Err(rustix::io::Errno::PERM) => Ok(()),
        Err(e) => Err(Error::io("cannot leave the session of the terminal", e.into())),
    }
}

/// What came in through stdin and stdout, which become /dev/null.
fn take_streams() -> Result<(File, File)> {
    let fail = |e: std::io::Error| Error::io("cannot take over the standard streams", e);
    let copy = |fd: std::os::fd::BorrowedFd<'_>| -> std::io::Result<OwnedFd> { fd.try_clone_to_owned() };
    let order = copy(std::io::stdin().as_fd()).map_err(fail)?;
    let report = copy(std::io::stdout().as_fd()).map_err(fail)?;
    let null = File::options().read(true).write(true).open("/dev/null").map_err(fail)?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| fail(e.into()))?;
    rustix::stdio::dup2_stdout(&null).map_err(|e| fail(e.into()))?;
    Ok((order.into(), report.into()))
}

/// For people, and for hints of errors; nothing depends on it.
fn note_pid(lock: &mut Lock) -> Result<()> {
    let file = lock.file();
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| Error::io("cannot write to the daemon's lock", e))
}

/// Signals that end the daemon, and everything that it keeps.
struct Terminations {
    terminate: Signal,
    interrupt: Signal,
}

impl Terminations {
    fn watch() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|e| Error::io("cannot listen for signals", e));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
