//! A running sandbox.

use crate::{gateway::ByteStream, process::Process};
use agentkernel_model::{Result, command::ExecSpec, path::GuestPath};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, os::fd::OwnedFd};

/// A running sandbox. All methods take `&self`: many commands run at once.
#[async_trait]
pub trait Sandbox: Send + Sync + fmt::Debug {
    /// Starts a command. It runs under exactly the policy that the sandbox was created with.
    ///
    /// # Errors
    /// `Conflict` when the sandbox is no longer running; `CommandNotFound` and `NotRunnable` come from here or from
    /// the process's `exit`. Cancelling before the command began leaves nothing; after that it runs on.
    async fn exec(&self, spec: &ExecSpec) -> Result<Process>;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    File,
    Directory,
    /// A device, pipe, socket, or a link that leads nowhere.
    Other,
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
