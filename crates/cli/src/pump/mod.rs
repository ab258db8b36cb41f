//! Bytes between the caller and a running command, both ways, unchanged, until the command has ended.
//!
//! The main thread runs the async runtime: the command's end, signals, deadlines, and whatever the engine serves for the
//! sandbox. Bytes are moved by one helper thread per stream, which may wait for the caller as long as it likes; a thread
//! is started only when its stream has something to move. Descriptors 0, 1 and 2 belong to the caller: their flags are
//! never touched.

mod channel;
mod detach;
mod inlet;
mod outlet;
mod stop;
mod watch;

use crate::{
    signals::{Event, Signals, Watch},
    terminal::{self, RawMode},
};
use agentkernel_backend::{Control, Exit, Process, process::ExitFuture};
use agentkernel_model::{Error, Result, command::Signal};
use inlet::InputEnd;
use outlet::Sink;
use std::{
    future::pending,
    io::{stderr, stdin, stdout},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};
use stop::Trigger;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// What a command gets after SIGTERM when its time is over.
const GRACE: Duration = Duration::from_secs(2);

/// The most that is kept of each stream when it is not passed on, in bytes.
const MEMORY_LIMIT: usize = 64 << 20;

/// Where a command's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputTo {
    /// To descriptors 1 and 2.
    Caller,
    /// Into [`Ended`], at most 64 MiB each.
    Memory,
}

/// Where a command's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputFrom {
    Nothing,
    Stdin,
    /// stdin for a command with a terminal of its own; the caller's terminal is raw meanwhile.
    Terminal(Detach),
}

/// Whether ctrl-p ctrl-q leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detach {
    Never,
    OnKeys,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) output: OutputTo,
    pub(crate) input: InputFrom,
    /// `None`: as long as it takes.
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) how: How,
    /// Empty unless the output went to memory.
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Exit(Exit),
    /// It was ended because this time was over.
    TimedOut(Duration),
    /// The caller left. What becomes of the command is the backend's to say.
    Detached,
    /// A signal ended the wait for somebody to read the rest of the output; the command had ended.
    Interrupted(Signal),
}

/// Pumps until `process` has ended and its output has been passed on.
///
/// # Errors
/// What the command's end reports; when the caller's stdout or stderr cannot be written, other than because its reader
/// has gone, which ends the command by SIGPIPE as it would without a sandbox.
pub(crate) async fn drive(process: Process, plan: Plan) -> Result<Ended> {
    let with_terminal = matches!(plan.input, InputFrom::Terminal(_));
    let raw = if with_terminal && terminal::stdin_is_terminal() { Some(RawMode::enter()?) } else { None };
    let watch = if with_terminal { Watch::SignalsAndTerminal } else { Watch::Signals };
    let signals = Signals::install(watch)?;
    let (trigger, stop) = stop::pair()?;

    let Process { stdin, stdout: out, stderr: err, control, exit } = process;
    let (out_sink, err_sink) = match plan.output {
        OutputTo::Caller => (Sink::Fd(duplicate(stdout())?), Sink::Fd(duplicate(stderr())?)),
        OutputTo::Memory => (Sink::memory(MEMORY_LIMIT), Sink::memory(MEMORY_LIMIT)),
    };
    let outlets = [
        tokio::spawn(outlet::pass_on(out, out_sink, stop.clone())),
        tokio::spawn(outlet::pass_on(err, err_sink, stop.clone())),
    ];
    let input = match plan.input {
        InputFrom::Nothing => None,
        from => Some(tokio::spawn(inlet::feed(duplicate(self::stdin())?, stdin, from, stop))),
    };
    let deadline = Deadline::new(plan.timeout);
    Pump { signals, control, exit, deadline, raw, trigger: Some(trigger) }.until_end(outlets, input).await
}

/// A descriptor of our own for the caller's open file; its flags stay as they are.
fn duplicate(stream: impl AsFd) -> Result<OwnedFd> {
    stream.as_fd().try_clone_to_owned().map_err(|e| Error::io("cannot duplicate a standard descriptor", e))
}

struct Pump {
    signals: Signals,
    control: Box<dyn Control>,
    exit: ExitFuture,
    deadline: Deadline,
    /// Restores the terminal when the pump is done, whatever the reason.
    raw: Option<RawMode>,
    trigger: Option<Trigger>,
}

type Outlet = JoinHandle<Result<Vec<u8>>>;

impl Pump {
    async fn until_end(
        mut self,
        outlets: [Outlet; 2],
        mut input: Option<JoinHandle<InputEnd>>,
    ) -> Result<Ended> {
        let exit = loop {
            tokio::select! {
                biased;
                exit = &mut self.exit => break exit,
                event = self.signals.next() => self.handle(event)?,
                () = self.deadline.passed() => {
                    let signal = self.deadline.advance();
                    self.control.signal(signal)?;
                }
                end = joined(&mut input) => {
                    input = None;
                    if end == InputEnd::Detached {
                        return Ok(Ended { how: How::Detached, stdout: Vec::new(), stderr: Vec::new() });
                    }
                }
            }
        };
        // What the command wrote is in its pipes by now; what its descendants still write is not waited for.
        self.trigger = None;
        let drained = self.drain(outlets).await?;
        let exit = exit?;
        let how = match self.deadline.expired() {
            Some(limit) => How::TimedOut(limit),
            None => How::Exit(exit),
        };
        Ok(match drained {
            Drained::All(stdout, stderr) => Ended { how, stdout, stderr },
            Drained::Interrupted(signal) => {
                Ended { how: How::Interrupted(signal), stdout: Vec::new(), stderr: Vec::new() }
            }
        })
    }

    fn handle(&self, event: Event) -> Result<()> {
        match event {
            Event::Forward(signal) => self.control.signal(signal),
            Event::Resize => self.control.resize(terminal::size()),
            Event::Resumed => {
                self.raw.as_ref().map_or(Ok(()), RawMode::apply)?;
                self.control.resize(terminal::size())
            }
        }
    }

    /// Waits for both streams to be passed on. The command is gone, so a signal is for us.
    async fn drain(&mut self, outlets: [Outlet; 2]) -> Result<Drained> {
        let [out, err] = outlets;
        let both = async {
            let (out, err) = tokio::join!(out, err);
            let stream = |joined: Result<Result<Vec<u8>>, tokio::task::JoinError>| {
                joined.unwrap_or_else(|e| Err(Error::internal("the pump of a stream failed").with_source(e)))
            };
            Ok(Drained::All(stream(out)?, stream(err)?))
        };
        tokio::pin!(both);
        loop {
            tokio::select! {
                biased;
                done = &mut both => return done,
                event = self.signals.next() => match event {
                    Event::Forward(Signal::User1 | Signal::User2) | Event::Resize | Event::Resumed => {}
                    Event::Forward(signal) => return Ok(Drained::Interrupted(signal)),
                },
            }
        }
    }
}

enum Drained {
    All(Vec<u8>, Vec<u8>),
    Interrupted(Signal),
}

/// The end of `task`; never, without one. Cancel safe.
async fn joined(task: &mut Option<JoinHandle<InputEnd>>) -> InputEnd {
    match task {
        Some(task) => task.await.unwrap_or(InputEnd::Over),
        None => pending().await,
    }
}

/// A command's time: SIGTERM when it is over, SIGKILL after the grace.
#[derive(Debug)]
struct Deadline {
    limit: Option<Duration>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running { until: Option<Instant> },
    Terminating { until: Instant },
    Killed,
}

impl Deadline {
    fn new(limit: Option<Duration>) -> Self {
        // A time too far to be represented is no limit.
        let until = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { limit, stage: Stage::Running { until } }
    }

    /// Resolves when the next signal is due. Cancel safe.
    async fn passed(&self) {
        match self.stage {
            Stage::Running { until: Some(until) } | Stage::Terminating { until } => sleep_until(until).await,
            Stage::Running { until: None } | Stage::Killed => pending().await,
        }
    }

    /// The signal that is due.
    fn advance(&mut self) -> Signal {
        if let Stage::Running { .. } = self.stage {
            self.stage = Stage::Terminating { until: Instant::now() + GRACE };
            return Signal::Terminate;
        }
        self.stage = Stage::Killed;
        Signal::Kill
    }

    fn expired(&self) -> Option<Duration> {
        if matches!(self.stage, Stage::Running { .. }) { None } else { self.limit }
    }
}

#[cfg(test)]
#[path = "pump_tests.rs"]
mod tests;
