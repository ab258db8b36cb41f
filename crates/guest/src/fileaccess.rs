//! Files of a running sandbox, for the host side: init is asked, and its children do it.

use crate::{
    client::Client,
    process,
    wire::{Exec, Fault, Reply, Request},
};
use agentkernel_backend::{ByteSink, ByteSource, FileKind, Files};
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    pipe::{PipeFlags, pipe_with},
};
use std::{future::Future, io, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long the sandbox may take for the next bytes of a file.
const STEP: Duration = Duration::from_secs(30);
/// Bytes of a file that are read at once.
const CHUNK: usize = 64 * 1024;

#[async_trait]
impl Files for Client {
    async fn read(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
        let request = Request::Open { path: path.to_string() };
        let file = self.ask(&request).await?.map_err(|fault| file_error(path, &fault))?;
        let failed = |e| Error::io(format!("cannot read {path} in the sandbox"), e);
        let mut content = Vec::new();
        let Some(reader) = ByteSource::Fd(file).into_reader()? else { return Ok(content) };
        let mut reader = reader.take(limit.saturating_add(1));
        while in_time(reader.read_buf(&mut content)).await.map_err(failed)? > 0 {
            content.reserve(CHUNK);
        }
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::new(Kind::Exhausted, format!("{path} is longer than {limit} bytes")));
        }
        Ok(content)
    }

    async fn write(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()> {
        let what = format!("cannot write {path} in the sandbox");
        let made = pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::io(what.clone(), e.into()));
        let (read, write) = made?;
        let conversation = self.dial()?;
        conversation.send(&Request::Write { path: path.to_string(), mode }, &[read.as_fd()])?;
        drop(read);
        let feed = async {
            let Some(mut writer) = ByteSink::Fd(write).into_writer()? else { return Ok::<(), Error>(()) };
            for chunk in content.chunks(CHUNK) {
                match in_time(writer.write_all(chunk)).await {
                    // Why it reads no more is in its answer.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => break,
                    other => other.map_err(|e| Error::io(what.clone(), e))?,
                }
            }
            Ok(())
        };
        feed.await?;
        let answer = tokio::time::timeout(STEP, conversation.recv()).await;
        match answer.map_err(|_| Error::new(Kind::Timeout, format!("{what}: it does not answer")))?? {
            Some(Reply::Refused(fault)) => Err(file_error(path, &fault)),
            other => transferred(other, &what),
        }
    }

    async fn kind(&self, path: &GuestPath) -> Result<Option<FileKind>> {
        match self.query(&Request::Look { path: path.to_string() }).await?.1 {
            Some(Reply::Looked { kind }) => Ok(kind),
            Some(Reply::Refused(fault)) => Err(file_error(path, &fault)),
            other => Err(process::unexpected(other, &Exec::none())),
        }
    }

    async fn pack(&self, path: &GuestPath, name: &str, into: OwnedFd) -> Result<()> {
        let request = Request::Pack { path: path.to_string(), name: name.to_owned() };
        self.transfer(&request, into, &format!("cannot pack {path} of the sandbox")).await
    }

    async fn unpack(&self, path: &GuestPath, from: OwnedFd) -> Result<()> {
        let request = Request::Unpack { path: path.to_string() };
        self.transfer(&request, from, &format!("cannot unpack into {path} of the sandbox")).await
    }
}

impl Client {
    /// As long as it takes. Cancelling closes this side's pipe, which ends the other.
    async fn transfer(&self, request: &Request, pipe: OwnedFd, what: &str) -> Result<()> {
        let conversation = self.dial()?;
        conversation.send(request, &[pipe.as_fd()])?;
        // Whoever reads need not wait for this side to see the end.
        drop(pipe);
        transferred(conversation.recv().await?, what)
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STEP, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn transferred(answer: Option<Reply>, what: &str) -> Result<()> {
    match answer {
        Some(Reply::Transferred) => Ok(()),
        Some(Reply::NotTransferred(failure)) => Err(failure.into_error(what)),
        Some(Reply::Signaled { number, .. }) => Err(Error::new(
            Kind::Conflict,
            format!("{what}: the process that did it was ended by signal {number}"),
        )),
        None => Err(Error::new(Kind::Conflict, format!("{what}: the sandbox ended"))),
        other => Err(process::unexpected(other, &Exec::none())),
    }
}

fn file_error(path: &GuestPath, fault: &Fault) -> Error {
    let kind = match fault.errno {
        libc::ENOENT | libc::ENOTDIR => Kind::NotFound,
        libc::EROFS | libc::EACCES | libc::EPERM => Kind::Denied,
        libc::ENOSPC | libc::EDQUOT => Kind::Exhausted,
        libc::EINVAL | libc::EISDIR | libc::ELOOP | libc::ENXIO => Kind::Invalid,
        _ => Kind::Internal,
    };
    let message = format!("cannot open {path} in the sandbox");
    let message =
        if kind == Kind::Invalid { format!("{path} in the sandbox is not a regular file") } else { message };
    Error::new(kind, message).with_source(fault.io_error())
}
