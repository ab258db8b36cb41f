//! Commands of callers: bounded in number, in output and in time, and ended when their caller leaves.

use agentkernel_engine::process::{ByteSink, ByteSource, Control, Exit, ExitFuture, Process};
use agentkernel_model::{Error, Kind, Result, command::Signal};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use utoipa::ToSchema;

/// Room for what may go on at the same time.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    all: usize,
    full: Busy,
    begun: Counter,
}

impl Slots {
    /// Room for `count` commands, all of which are counted in `begun`.
    pub(crate) fn of_commands(count: usize, begun: Counter) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), all: count, full: Busy::Commands, begun }
    }

    /// Room for `count` of what nobody counts.
    pub(crate) fn new(count: usize, full: Busy) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), all: count, full, begun: Counter::default() }
    }

    /// Room for one more.
    ///
    /// # Errors
    /// [`Busy`], at once: a caller that is told can decide better than a queue.
    pub(crate) fn take(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let seat = Arc::clone(&self.free).try_acquire_owned().map_err(|_| self.full)?;
        self.begun.inc();
        Ok(seat)
    }

    /// How many run now.
    pub(crate) fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }
}

/// What there is no room for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Busy {
    /// As many commands run as may.
    Commands,
    /// As many images are pulled and sandboxes are made or started as may.
    Preparations,
    /// As many logs of connections are followed as may.
    Followers,
    /// Backends are measured, which two would spoil for each other.
    Benchmark,
}

impl Busy {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::Commands => "as many commands run as this server lets run at once",
            Self::Preparations => {
                "as many images are pulled and sandboxes are started as this server does at once"
            }
            Self::Followers => "as many logs are followed as this server follows at once",
            Self::Benchmark => "this server is measuring backends",
        }
    }

    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Commands => {
                "try again when one has ended, or start the server with a larger --max-commands"
            }
            Self::Preparations => "try again when one of them is there",
            Self::Followers => "end one of the streams, or ask without /stream and follow",
            Self::Benchmark => "try again when it is done",
        }
    }
}

impl From<Busy> for Error {
    fn from(busy: Busy) -> Self {
        Self::new(Kind::Exhausted, busy.what()).with_hint(busy.hint())
    }
}

/// What a command wrote, and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit: Exit,
}

/// Ends a command when it is dropped before the command's end: dropping a process of a named sandbox leaves it running.
pub(crate) struct Leash(Option<Arc<dyn Control>>);

impl Leash {
    pub(crate) fn new(control: &Arc<dyn Control>) -> Self {
        Self(Some(Arc::clone(control)))
    }

    /// It has ended, or is to go on.
    pub(crate) fn loose(mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(control) = self.0.take() {
            // One that has ended does not mind.
            let _ = control.signal(Signal::Kill);
        }
    }
}

/// A command whose parts are used apart.
pub(crate) struct Parts {
    pub(crate) stdin: ByteSink,
    pub(crate) stdout: ByteSource,
    pub(crate) stderr: ByteSource,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) exit: ExitFuture,
    pub(crate) leash: Leash,
}

impl From<Process> for Parts {
    fn from(process: Process) -> Self {
        let Process { stdin, stdout, stderr, control, exit } = process;
        let control: Arc<dyn Control> = Arc::from(control);
        let leash = Leash::new(&control);
        Self { stdin, stdout, stderr, control, exit, leash }
    }
}

/// Gives `input` to the command, reads everything that it writes, and waits for its end.
///
/// # Errors
/// [`Kind::Exhausted`] for more than `limit` bytes of a stream, [`Kind::Timeout`] when `timeout` is over, and those of the
/// command's start. The command has ended then.
pub(crate) async fn collect(
    process: Process,
    input: Vec<u8>,
    limit: usize,
    timeout: Option<Duration>,
) -> Result<Finished> {
    let parts = Parts::from(process);
    let leash = parts.leash;
    let work = async {
        let (stdout, stderr, ()) = tokio::try_join!(
            read_all(parts.stdout, limit),
            read_all(parts.stderr, limit),
            feed(parts.stdin, input)
        )?;
        Ok(Finished { stdout, stderr, exit: parts.exit.await? })
    };
    let finished = match timeout {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(finished) => finished,
            Err(_) => Err(timed_out(limit)),
        },
    }?;
    leash.loose();
    Ok(finished)
}

pub(crate) fn timed_out(limit: Duration) -> Error {
    Error::new(Kind::Timeout, format!("the command was ended after {} ms", limit.as_millis()))
        .with_hint("give it more time with timeout_ms")
}

async fn read_all(source: ByteSource, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(reader) = source.into_reader()? else { return Ok(bytes) };
    let mut reader = reader.take(limit as u64 + 1);
    reader.read_to_end(&mut bytes).await.map_err(|e| Error::io("cannot read a command's output", e))?;
    if bytes.len() > limit {
        return Err(Error::new(Kind::Exhausted, format!("the command wrote more than {limit} bytes"))
            .with_hint("read it as it comes: POST /run/stream"));
    }
    Ok(bytes)
}

pub(crate) async fn feed(sink: ByteSink, input: Vec<u8>) -> Result<()> {
    let Some(mut writer) = sink.into_writer()? else { return Ok(()) };
    // A command need not read what it is given.
    let _ = writer.write_all(&input).await;
    let _ = writer.shutdown().await;
    Ok(())
}

/// A finished command as callers see it. `output` is what the reference implementation's clients read: standard output,
/// then a line end and standard error where both have something.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CommandReport {
    pub(crate) output: String,
    /// 128 and the signal's number for a command that a signal ended.
    pub(crate) exit_code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `base64` (RFC 4648) where the bytes are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stdout_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stderr_encoding: Option<&'static str>,
    /// The number of the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// The memory limit of the sandbox ended it.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) out_of_memory: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl From<Finished> for CommandReport {
    fn from(finished: Finished) -> Self {
        let output = merged(&finished.stdout, &finished.stderr);
        let (stdout, stdout_encoding) = encode(finished.stdout);
        let (stderr, stderr_encoding) = encode(finished.stderr);
        let (signal, out_of_memory) = match finished.exit {
            Exit::Code(_) => (None, false),
            Exit::Signal { number, out_of_memory } => (Some(number), out_of_memory),
        };
        let exit_code = finished.exit.code();
        Self { output, exit_code, stdout, stderr, stdout_encoding, stderr_encoding, signal, out_of_memory }
    }
}

fn merged(stdout: &[u8], stderr: &[u8]) -> String {
    let mut output = String::from_utf8_lossy(stdout).into_owned();
    if !stderr.is_empty() {
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        output.push_str(&String::from_utf8_lossy(stderr));
    }
    output
}

fn encode(bytes: Vec<u8>) -> (String, Option<&'static str>) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(e) => (STANDARD.encode(e.as_bytes()), Some("base64")),
    }
}
