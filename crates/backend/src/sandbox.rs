//! A running sandbox.

use crate::{
    file::{FileKind, FileList, OpenFile},
    gateway::ByteStream,
    process::Process,
};
use agentkernel_model::{
    Result,
    command::{ExecSpec, Stdio},
    path::GuestPath,
};
use async_trait::async_trait;
use serde::Serialize;
use std::{fmt, os::fd::OwnedFd};
use tokio::io::AsyncRead;

/// A running sandbox. All methods take `&self`: many commands run at once.
#[async_trait]
pub trait Sandbox: Send + Sync + fmt::Debug {
    /// Starts a command. It runs under exactly the policy that the sandbox was created with.
    ///
    /// # Errors
    /// `Conflict` when the sandbox is no longer running; `CommandNotFound` and `NotRunnable` come from here or from
    /// the process's `exit`. Cancelling before the command began leaves nothing; after that it runs on.
    async fn exec(&self, spec: &ExecSpec) -> Result<Process>;

    /// As [`Sandbox::exec`] with no input and no terminal, and resolves only when the command was executed: one that cannot
    /// be is an error of this and not of the process's `exit`, where the backend can tell. With its number inside, where it
    /// tells that.
    ///
    /// # Errors
    /// As [`Sandbox::exec`]; `Timeout` when it does not begin.
    async fn begin(&self, spec: &ExecSpec) -> Result<(Process, Option<u32>)> {
        let spec = ExecSpec { stdio: Stdio::NoInput, ..spec.clone() };
        self.exec(&spec).await.map(|process| (process, None))
    }

    /// Opens a connection to TCP port `port` on the sandbox's own loopback.
    ///
    /// # Errors
    /// `Unavailable` when nothing listens there.
    async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>>;

    /// What it uses now.
    ///
    /// # Errors
    /// `Conflict` when the sandbox is no longer running.
    async fn stats(&self) -> Result<Stats>;

    /// Resolves when the sandbox is gone, whatever the reason.
    async fn gone(&self);

    fn files(&self) -> &dyn Files;
}

/// Files of a running sandbox. Paths are resolved inside, as a command of the sandbox would: a symbolic link can never
/// lead to a file of the host.
#[async_trait]
pub trait Files: Send + Sync {
    /// # Errors
    /// `NotFound`; `Invalid` when it is not a regular file; `Exhausted` when it is longer than `limit` bytes.
    async fn read(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>>;

    /// Writes a regular file, replacing what was there; `mode` counts when the file is new.
    ///
    /// # Errors
    /// `NotFound` when the directory does not exist; `Denied` when the policy makes it read-only.
    async fn write(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()>;

    /// Opens a regular file for reading. How much of it is read is the caller's to bound.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is not a regular file; `Denied` for what is in /proc.
    async fn open(&self, path: &GuestPath) -> Result<OpenFile>;

    /// Writes everything that `content` has to a regular file, and says how many bytes that was. Directories on the way
    /// are made; a link at `path` is followed. Readers see the old content or the new, and an error of `content` leaves
    /// the old, except where the file cannot be replaced, as when it is itself a mount: there it is written in place.
    /// A file that is there keeps its mode and its owner; a new one, and each new directory, belongs to whom the
    /// directory that it is in belongs, and the file has `mode`.
    ///
    /// # Errors
    /// `Invalid` when something else is there; `NotFound` when the way there leads through a link to nothing; `Denied`
    /// when the policy makes it read-only, and for what is in /proc.
    async fn store(
        &self,
        path: &GuestPath,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64>;

    /// Removes what is at `path`, but not a directory; of a link, the link.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is a directory; `Denied` when the policy makes it read-only.
    async fn remove(&self, path: &GuestPath) -> Result<()>;

    /// What is in the directory `path`, by name: at most [`FileList::MAX`] entries.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is not a directory; `Denied` for what is in /proc.
    async fn list(&self, path: &GuestPath) -> Result<FileList>;

    /// What is at `path`, links followed as far as they lead inside; `None` when nothing is.
    ///
    /// # Errors
    /// `Conflict` when the sandbox is no longer running.
    async fn kind(&self, path: &GuestPath) -> Result<Option<FileKind>>;

    /// Writes what is at `path` to the pipe `into` as a POSIX tar archive: a directory with everything below it, but not
    /// what else is mounted there; a file; a symbolic link as a link. Entries are named `name`, and `name/...` below it.
    /// The archive is written by the sandbox: whoever reads it must treat it as hostile. Whoever waits must read at the
    /// same time.
    ///
    /// # Errors
    /// `NotFound`; when it could not be written whole.
    async fn pack(&self, path: &GuestPath, name: &str, into: OwnedFd) -> Result<()>;

    /// Unpacks the tar archive that comes from the pipe `from` into the directory `path`, as root inside: owners as in
    /// the archive where they exist inside. What is in the way is replaced, directories are merged, and no entry leaves
    /// `path`.
    ///
    /// # Errors
    /// `NotFound` when the directory does not exist; `Denied` when the policy makes it read-only; `Invalid` for a broken
    /// archive. What was unpacked before stays.
    async fn unpack(&self, path: &GuestPath, from: OwnedFd) -> Result<()>;
}

/// Each value is `None` where the backend cannot tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Bytes of memory, page cache included.
    pub memory_bytes: Option<u64>,
    /// Processor time since the start, in microseconds.
    pub cpu_micros: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}
