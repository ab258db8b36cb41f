//! A running command: its input, its output as bytes, and how it ended.

use agentkernel_model::{
    Error, Kind, Result,
    command::{Signal, TerminalSize},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    future::{self, Future},
    os::fd::OwnedFd,
    pin::{Pin, pin},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

/// Where a command's output comes from.
pub enum ByteSource {
    /// The reading end of a pipe or the controlling end of a terminal: a caller on Linux can splice it.
    Fd(OwnedFd),
    Stream(Pin<Box<dyn AsyncRead + Send>>),
    Empty,
}

/// Where a command's input goes. Dropping it is end of input.
pub enum ByteSink {
    Fd(OwnedFd),
    Stream(Pin<Box<dyn AsyncWrite + Send>>),
    Closed,
}

impl fmt::Debug for ByteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fd(_) => "ByteSource::Fd",
            Self::Stream(_) => "ByteSource::Stream",
            Self::Empty => "ByteSource::Empty",
        })
    }
}

impl fmt::Debug for ByteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fd(_) => "ByteSink::Fd",
            Self::Stream(_) => "ByteSink::Stream",
            Self::Closed => "ByteSink::Closed",
        })
    }
}

/// How a command ended. A non-zero code is data, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(u8),
    Signal {
        number: i32,
        /// The kernel ended it because the sandbox's memory limit was reached.
        out_of_memory: bool,
    },
}

impl Exit {
    /// As shells report it: the code, or 128 and the signal's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { number, .. } => u8::try_from(128 + number).unwrap_or(255),
        }
    }
}

/// The future of a command's end.
pub type ExitFuture = Pin<Box<dyn Future<Output = Result<Exit>> + Send>>;

/// One running command. Output is bounded by what its pipes hold: a command that is not read from waits.
///
/// Dropping a `Process` ends the command of an ephemeral sandbox and leaves that of a named one running.
pub struct Process {
    pub stdin: ByteSink,
    pub stdout: ByteSource,
    /// [`ByteSource::Empty`] with a terminal, whose one stream is `stdout`.
    pub stderr: ByteSource,
    pub control: Box<dyn Control>,
    /// Resolves when the command has ended; for an ephemeral sandbox, when everything of it is gone as well. Errors
    /// with [`Kind::CommandNotFound`] and [`Kind::NotRunnable`] when it never began.
    pub exit: ExitFuture,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

/// What can be done to a running command. All are no-ops once it has ended.
pub trait Control: Send + Sync {
    /// Sends `signal` to the command, and with a terminal to its foreground process group.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the sandbox cannot be reached.
    fn signal(&self, signal: Signal) -> Result<()>;

    /// Sends `signal` to the command and to what it started, as far as that stayed in its process group. Where the group
    /// cannot be reached, to the command alone.
    ///
    /// # Errors
    /// As [`Control::signal`].
    fn signal_group(&self, signal: Signal) -> Result<()> {
        self.signal(signal)
    }

    /// Tells the terminal its new size; without one, does nothing.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the terminal cannot be reached.
    fn resize(&self, size: TerminalSize) -> Result<()>;
}

/// Everything that a command wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: Exit,
}

impl Process {
    /// Closes stdin, reads both streams to their end and waits.
    ///
    /// # Errors
    /// [`Kind::Exhausted`] when either stream is longer than `limit` bytes; the command is then killed.
    pub async fn output(self, limit: usize) -> Result<Output> {
        self.output_unless(limit, future::pending()).await
    }

    /// As [`Process::output`], unless `given_up` comes first: the command is then killed, and what came is the error.
    ///
    /// # Errors
    /// As [`Process::output`], and that of `given_up`.
    pub async fn output_unless(self, limit: usize, given_up: impl Future<Output = Error>) -> Result<Output> {
        let Self { stdin, stdout, stderr, control, mut exit } = self;
        drop(stdin);
        let mut given_up = pin!(given_up);
        let collected = tokio::select! {
            collected = async { tokio::try_join!(collect(stdout, limit), collect(stderr, limit)) } => collected,
            error = &mut given_up => Err(error),
        };
        let cut_off = match collected {
            // A command may close both, and go on.
            Ok((stdout, stderr)) => tokio::select! {
                exit = &mut exit => return Ok(Output { stdout, stderr, exit: exit? }),
                error = given_up => error,
            },
            Err(error) => error,
        };
        control.signal(Signal::Kill)?;
        exit.await?;
        Err(cut_off)
    }

    /// As [`Process::output`], but only the last `keep` bytes of each stream are kept, however much there is.
    ///
    /// # Errors
    /// When the streams cannot be read.
    pub async fn last_output(mut self, keep: usize) -> Result<Output> {
        drop(std::mem::replace(&mut self.stdin, ByteSink::Closed));
        let (stdout, stderr) = tokio::try_join!(tail(self.stdout, keep), tail(self.stderr, keep))?;
        Ok(Output { stdout, stderr, exit: self.exit.await? })
    }
}

async fn tail(source: ByteSource, keep: usize) -> Result<Vec<u8>> {
    let mut last = Vec::new();
    let Some(mut reader) = source.into_reader()? else { return Ok(last) };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return Ok(last),
            Ok(n) => {
                last.extend_from_slice(&buffer[..n]);
                last.drain(..last.len().saturating_sub(keep));
            }
            Err(e) if e.raw_os_error() == Some(5) => return Ok(last),
            Err(e) => return Err(Error::io("cannot read the output of the command", e)),
        }
    }
}

async fn collect(source: ByteSource, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(reader) = source.into_reader()? else { return Ok(bytes) };
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    // A terminal answers EIO once its last holder is gone: the end, not a fault.
    match reader.take(cap).read_to_end(&mut bytes).await {
        Ok(_) => {}
        Err(e) if e.raw_os_error() == Some(5) => {}
        Err(e) => return Err(Error::io("cannot read the output of the command", e)),
    }
    if bytes.len() > limit {
        return Err(Error::new(Kind::Exhausted, format!("the command wrote more than {limit} bytes")));
    }
    Ok(bytes)
}

impl ByteSource {
    /// An async reader over the bytes; `None` for [`ByteSource::Empty`].
    ///
    /// # Errors
    /// [`Kind::Internal`] when the descriptor cannot be watched.
    pub fn into_reader(self) -> Result<Option<Pin<Box<dyn AsyncRead + Send>>>> {
        match self {
            Self::Empty => Ok(None),
            Self::Stream(stream) => Ok(Some(stream)),
            Self::Fd(fd) => match tokio::net::unix::pipe::Receiver::from_owned_fd(dup(&fd)?) {
                Ok(pipe) => Ok(Some(Box::pin(pipe))),
                Err(_) => Ok(Some(Box::pin(tokio::fs::File::from_std(fd.into())))),
            },
        }
    }
}

impl ByteSink {
    /// An async writer; `None` when input is closed.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the descriptor cannot be watched.
    pub fn into_writer(self) -> Result<Option<Pin<Box<dyn AsyncWrite + Send>>>> {
        match self {
            Self::Closed => Ok(None),
            Self::Stream(stream) => Ok(Some(stream)),
            Self::Fd(fd) => match tokio::net::unix::pipe::Sender::from_owned_fd(dup(&fd)?) {
                Ok(pipe) => Ok(Some(Box::pin(pipe))),
                Err(_) => Ok(Some(Box::pin(tokio::fs::File::from_std(fd.into())))),
            },
        }
    }
}

fn dup(fd: &OwnedFd) -> Result<OwnedFd> {
    fd.try_clone().map_err(|e| Error::io("cannot duplicate a descriptor", e))
}
