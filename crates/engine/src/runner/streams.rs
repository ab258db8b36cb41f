//! The streams of a command as descriptors, whatever its backend has them as.

use agentkernel_backend::{ByteSink, ByteSource};
use agentkernel_model::{Error, Result};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    task::JoinSet,
};

/// Bytes that are moved at once.
const CHUNK: usize = 64 * 1024;

/// The caller's ends, and what moves bytes where the backend has no descriptor to give.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) pumps: Pumps,
}

/// Move bytes until both sides are done, or it is dropped.
#[derive(Debug, Default)]
pub(super) struct Pumps {
    input: JoinSet<()>,
    output: JoinSet<()>,
}

impl Pumps {
    /// Until the caller has all output, or does not want it any more.
    pub(super) async fn finish(mut self) {
        self.input.abort_all();
        while self.output.join_next().await.is_some() {}
    }
}

impl Streams {
    /// Must be called within the runtime.
    pub(super) fn of(stdin: ByteSink, stdout: ByteSource, stderr: ByteSource) -> Result<Self> {
        let mut pumps = Pumps::default();
        Ok(Self {
            stdin: into(stdin, &mut pumps.input)?,
            stdout: out_of(stdout, &mut pumps.output)?,
            stderr: out_of(stderr, &mut pumps.output)?,
            pumps,
        })
    }

    /// Those that are there, in order.
    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten().map(|fd| fd.as_fd()).collect()
    }
}

fn into(sink: ByteSink, pumps: &mut JoinSet<()>) -> Result<Option<OwnedFd>> {
    match sink {
        ByteSink::Closed => Ok(None),
        ByteSink::Fd(fd) => Ok(Some(fd)),
        ByteSink::Stream(mut to) => {
            let (read, write) = std::io::pipe().map_err(no_pipe)?;
            let from = pipe::Receiver::from_owned_fd(read.into()).map_err(no_pipe)?;
            pumps.spawn(async move {
                let mut from = BufReader::with_capacity(CHUNK, from);
                // The command does not read any more: whoever writes is told by the pipe.
                if tokio::io::copy_buf(&mut from, &mut to).await.is_ok() {
                    let _gone = to.shutdown().await;
                }
            });
            Ok(Some(write.into()))
        }
    }
}

fn out_of(source: ByteSource, pumps: &mut JoinSet<()>) -> Result<Option<OwnedFd>> {
    match source {
        ByteSource::Empty => Ok(None),
        ByteSource::Fd(fd) => Ok(Some(fd)),
        ByteSource::Stream(from) => {
            let (read, write) = std::io::pipe().map_err(no_pipe)?;
            let mut to = pipe::Sender::from_owned_fd(write.into()).map_err(no_pipe)?;
            pumps.spawn(async move {
                let mut from = BufReader::with_capacity(CHUNK, from);
                // The caller does not read any more, or there is no more.
                let _end = tokio::io::copy_buf(&mut from, &mut to).await;
            });
            Ok(Some(read.into()))
        }
    }
}

fn no_pipe(error: std::io::Error) -> Error {
    Error::io("cannot make a pipe", error)
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
