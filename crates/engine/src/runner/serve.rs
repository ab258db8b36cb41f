//! The process of a runner, from its start to its end.

use super::{
    line::{Failure, Line, send_now},
    protocol::{Begun, Ended, Order, Reply, Setup, Work},
    streams::Streams,
};
use crate::{
    engine::Engine,
    keeper::{self, handover, protocol::WireError},
    memory, probe,
    request::{RunRequest, Running},
    run, step,
    values::{Source, Values},
};
use agentkernel_backend::{Control, Exit, Process, Registry, process::ExitFuture};
use agentkernel_model::{Error, Kind, Result, command::Signal as ToCommand, id::BackendId};
use agentkernel_trace::{self as trace, Recorder};
use rustix::fs::FileType;
use std::{
    fs::File,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net,
    },
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::UnixStream,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{Instrument as _, Span};

/// How long a sandbox that nobody wants any more may take to come up, and then to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves one run, or one probe of backends, for whoever is at the other end of the socket that is this process's stdin; what the hidden verb
/// `runner` does. Takes over stdin and leaves the session of the terminal: call it first thing, in a process that has
/// one thread and holds nothing, and only there.
///
/// # Errors
/// When there is no such socket, or what comes through it cannot be understood. Why a run fails is said to whoever
/// asked for it.
pub async fn serve(registry: Registry) -> Result<()> {
    let socket = take_stdin()?;
    keeper::leave_the_terminal()?;
    let mut caller = Caller { line: Line::new(socket)?, terminate: terminations()?, span: Span::none() };
    let Some(setup) = caller.hear::<Setup>().await? else { return Ok(()) };
    let engine = match setup.engine(registry) {
        Ok(engine) => engine,
        Err(error) => return caller.fail(&error).await,
    };
    match caller.hear().await {
        Ok(Some(Order::Run(work))) => carry_out(&engine, *work, caller).await,
        Ok(Some(Order::Probe(backends))) => try_out(&engine, &backends, caller).await,
        // Nothing was wanted of it.
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Error::invalid("a runner was told something before there was anything to do")),
        Err(error) => caller.fail(&error).await,
    }
}

fn terminations() -> Result<Signal> {
    signal(SignalKind::terminate()).map_err(|e| Error::io("cannot listen for signals", e))
}

/// The socket that came in as stdin, which becomes /dev/null.
fn take_stdin() -> Result<net::UnixStream> {
    let fail = |e| Error::io("cannot take over the standard input", e);
    let stdin: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let stat = rustix::fs::fstat(&stdin).map_err(|e| fail(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Error::invalid("a runner is started by agentkernel itself, and not by people")
            .with_hint("agentkernel run -- COMMAND"));
    }
    let null = File::open("/dev/null").map_err(fail)?;
    rustix::stdio::dup2_stdin(&null).map_err(|e| fail(e.into()))?;
    Ok(stdin.into())
}

/// Whoever wants something of this process.
struct Caller {
    line: Line,
    terminate: Signal,
    /// What is done for them, where that is recorded.
    span: Span,
}

/// Why nobody wants the run any more.
enum Unwanted {
    /// Whoever asked for it is gone.
    Left,
    /// This process was told to end.
    Terminated,
}

impl Caller {
    /// `None` when there is nothing to do any more.
    async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        tokio::select! {
            message = self.line.receive() => message,
            _ = self.terminate.recv() => Ok(None),
        }
    }

    /// Returns when nobody wants the run any more. What is told to the command until then goes to `control`.
    async fn unwanted(&mut self, control: Option<&dyn Control>) -> Unwanted {
        loop {
            let order = tokio::select! {
                order = self.line.receive() => order,
                _ = self.terminate.recv() => return Unwanted::Terminated,
            };
            // A command that cannot be reached has ended, or does so when its sandbox is ended.
            let _reached = match (order, control) {
                (Ok(Some(Order::Signal(signal))), Some(control)) => control.signal(signal),
                (Ok(Some(Order::SignalGroup(signal))), Some(control)) => control.signal_group(signal),
                (Ok(Some(Order::Resize(size))), Some(control)) => control.resize(size),
                _ => return Unwanted::Left,
            };
        }
    }

    async fn fail(&mut self, error: &Error) -> Result<()> {
        self.span.record("error.type", error.kind().as_str());
        self.last_word(&Reply::Failed(WireError::from(error))).await;
        Ok(())
    }

    /// Nobody may be there to hear it.
    async fn last_word(&mut self, reply: &Reply) {
        self.span = Span::none();
        let spans = trace::take_out();
        if !spans.is_empty() {
            let _nobody_there = self.line.send(&Reply::Spans(spans), &[]).await;
        }
        let _nobody_there = self.line.send(reply, &[]).await;
    }
}

async fn try_out(engine: &Engine, backends: &[BackendId], mut caller: Caller) -> Result<()> {
    let probing = async {
        let build = |id: &BackendId| engine.backend(engine.registry.find(id.as_str())?);
        let built = backends.iter().map(build).collect::<Result<Vec<_>>>()?;
        probe::anew(engine, &built).await
    };
    let found = tokio::select! {
        found = probing => found,
        unwanted = caller.unwanted(None) => match unwanted {
            Unwanted::Left => return Ok(()),
            Unwanted::Terminated => Err(told_to_end()),
        },
    };
    match found {
        Ok(found) => {
            let _nobody_there = caller.line.send(&Reply::Probed(found), &[]).await;
            Ok(())
        }
        Err(error) => caller.fail(&error).await,
    }
}

async fn carry_out(engine: &Engine, work: Work, mut caller: Caller) -> Result<()> {
    let Work { spec, command, backend, pool, asked } = work;
    if let Some(asked) = asked {
        caller.span = Recorder::install_for(asked, || step::span!("runner"));
    }
    let values = values_over(caller.line.socket());
    let request = RunRequest { spec, command, backend, values, pool };
    let span = caller.span.clone();
    // Its handle on the span goes when it is done, and not only when this is.
    let mut starting = pin!(async move { run::run(engine, request).instrument(span).await });
    let unwanted = tokio::select! {
        running = &mut starting => match running {
            Ok(running) => return attend(engine, running, caller).await,
            Err(error) => return caller.fail(&error).await,
        },
        unwanted = caller.unwanted(None) => unwanted,
    };
    // What is half made cannot be dropped without leaving something. What takes longer is found by gc.
    if let Ok(Ok(Running { process, .. })) = tokio::time::timeout(PATIENCE, starting).await {
        let Process { control, mut exit, .. } = process;
        end(control.as_ref(), &mut exit).await;
    }
    if matches!(unwanted, Unwanted::Terminated) {
        return caller.fail(&told_to_end()).await;
    }
    Ok(())
}

/// Passes the streams of the command to the caller, and what the caller says to the command, until it has ended.
async fn attend(engine: &Engine, running: Running, mut caller: Caller) -> Result<()> {
    let Running { process, choice } = running;
    let Process { stdin, stdout, stderr, control, mut exit } = process;
    let streams = match Streams::of(stdin, stdout, stderr) {
        Ok(streams) => streams,
        Err(error) => {
            end(control.as_ref(), &mut exit).await;
            return caller.fail(&error).await;
        }
    };
    let begun = Begun {
        backend: choice.backend,
        notes: choice.notes,
        unenforced: choice.unenforced,
        stdin: streams.stdin.is_some(),
        stdout: streams.stdout.is_some(),
        stderr: streams.stderr.is_some(),
    };
    // A caller who is gone is noticed below.
    let _nobody_there = caller.line.send(&Reply::Begun(Box::new(begun)), &streams.fds()).await;
    // The caller's alone from here on: the command sees when they are closed.
    let Streams { stdin, stdout, stderr, pumps } = streams;
    drop((stdin, stdout, stderr));
    let ended = tokio::select! {
        ended = &mut exit => ended,
        unwanted = caller.unwanted(Some(control.as_ref())) => {
            end(control.as_ref(), &mut exit).await;
            return match unwanted {
                Unwanted::Left => Ok(()),
                Unwanted::Terminated => caller.fail(&told_to_end()).await,
            };
        }
    };
    match ended {
        Ok(exit) => tell(engine, exit, &mut caller).await,
        Err(error) => caller.fail(&error).await?,
    }
    // Output may be on its way when the command has ended, and the caller need not wait for it to hear that.
    pumps.finish().await;
    Ok(())
}

async fn tell(engine: &Engine, exit: Exit, caller: &mut Caller) {
    let trouble = engine.audit.take_trouble().as_ref().map(WireError::from);
    caller.last_word(&Reply::Ended(Ended { exit, trouble })).await;
}

/// Ends the command, and waits until everything of it is gone.
async fn end(control: &dyn Control, exit: &mut ExitFuture) {
    // One that cannot be reached has ended.
    let _reached = control.signal(ToCommand::Kill);
    // What takes longer is ended with this process, and found by gc.
    let _ended = tokio::time::timeout(PATIENCE, exit).await;
}

fn told_to_end() -> Error {
    Error::new(Kind::Cancelled, "the process that was to do this was told to end")
}

/// Asks whoever is at the other end of `line` for the values, when they are needed.
fn values_over(line: Arc<UnixStream>) -> Source {
    Source::new(move || ask(&line))
}

/// Blocks. Nobody else says anything over the line meanwhile.
fn ask(line: &UnixStream) -> Result<Values> {
    let no_socket = |e| Error::io("cannot make a socket for secrets", e);
    let (ours, theirs) = net::UnixStream::pair().map_err(no_socket)?;
    match send_now(line, &Reply::Values, &[theirs.as_fd()]) {
        Ok(()) => {}
        Err(Failure::Deaf(error)) => return Err(error),
        Err(Failure::Gone) => return Err(Error::new(Kind::Cancelled, "nobody wants the run any more")),
    }
    drop(theirs);
    // The sandbox is there: nothing is cloned from this process any more.
    handover::take(&ours, memory::keep_unseen)
}
