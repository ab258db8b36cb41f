//! Files of a running sandbox, for the host side: init is asked, and its children do it.

use crate::{
    client::Client,
    process,
    transfer::MAX_CHUNK,
    wire::{Exec, Fault, Reply, Request},
};
use agentkernel_backend::{ByteSink, ByteSource, FileKind, FileList, Files, OpenFile};
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::FileType,
    pipe::{PipeFlags, pipe_with},
};
use std::{future::Future, io, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

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

    async fn open(&self, path: &GuestPath) -> Result<OpenFile> {
        check_no_process(path)?;
        let request = Request::Open { path: path.to_string() };
        let file = self.ask(&request).await?.map_err(|fault| file_error(path, &fault))?;
        // Behind a relay it is a pipe.
        let stat =
            rustix::fs::fstat(&file).map_err(|e| Error::io(format!("cannot look at {path}"), e.into()))?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let size = u64::try_from(stat.st_size).ok().filter(|_| is_file);
        Ok(OpenFile { size, content: ByteSource::Fd(file) })
    }

    async fn store(
        &self,
        path: &GuestPath,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64> {
        let what = format!("cannot write {path} in the sandbox");
        check_no_process(path)?;
        let made = pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::io(what.clone(), e.into()));
        let (read, write) = made?;
        let conversation = self.dial()?;
        conversation.send(&Request::Store { path: path.to_string(), mode }, &[read.as_fd()])?;
        drop(read);
        let fed = match ByteSink::Fd(write).into_writer()? {
            Some(mut pipe) => feed(content, &mut pipe, &what).await,
            None => Ok(0),
        };
        // Also after a failure: when the answer is there, nothing of what was written is.
        let answer = tokio::time::timeout(STEP, conversation.recv()).await;
        let bytes = fed?;
        match answer.map_err(|_| Error::new(Kind::Timeout, format!("{what}: it does not answer")))?? {
            Some(Reply::Refused(fault)) => Err(named_error(&what, &fault)),
            other => transferred(other, &what).map(|()| bytes),
        }
    }

    async fn remove(&self, path: &GuestPath) -> Result<()> {
        match self.query(&Request::Remove { path: path.to_string() }).await?.1 {
            Some(Reply::Removed) => Ok(()),
            Some(Reply::Refused(fault)) if fault.errno == libc::EISDIR => {
                Err(Error::invalid(format!("{path} in the sandbox is a directory"))
                    .with_hint("remove a directory with a command inside: rm -r"))
            }
            Some(Reply::Refused(fault)) => {
                Err(named_error(&format!("cannot remove {path} in the sandbox"), &fault))
            }
            other => Err(unanswered(other)),
        }
    }

    async fn list(&self, path: &GuestPath) -> Result<FileList> {
        check_no_process(path)?;
        match self.query(&Request::List { path: path.to_string() }).await?.1 {
            Some(Reply::Listed(list)) => Ok(list),
            Some(Reply::Refused(fault)) if fault.errno == libc::ENOTDIR => {
                Err(Error::invalid(format!("{path} in the sandbox is not a directory")))
            }
            Some(Reply::Refused(fault)) => {
                Err(named_error(&format!("cannot list {path} in the sandbox"), &fault))
            }
            other => Err(unanswered(other)),
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

/// What /proc shows is that of whoever looks, which is no command of the sandbox.
fn check_no_process(path: &GuestPath) -> Result<()> {
    if path.as_str() == "/proc" || path.as_str().starts_with("/proc/") {
        return Err(Error::new(Kind::Denied, format!("{path} is not a file of the sandbox"))
            .with_hint("look at it with a command inside: cat, ls"));
    }
    Ok(())
}

/// `content` in chunks, as [`transfer`](crate::transfer) takes them, and how many bytes it had.
async fn feed(
    content: &mut (dyn AsyncRead + Send + Unpin),
    pipe: &mut (impl AsyncWrite + Unpin + ?Sized),
    what: &str,
) -> Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0; 4 + MAX_CHUNK];
    loop {
        let read = content.read(&mut buffer[4..]).await;
        let length = read.map_err(|e| Error::io(format!("{what}: its content cannot be read"), e))?;
        buffer[..4].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_le_bytes());
        match in_time(pipe.write_all(&buffer[..4 + length])).await {
            // Why it reads no more is in its answer.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(total),
            other => other.map_err(|e| Error::io(what.to_owned(), e))?,
        }
        if length == 0 {
            return Ok(total);
        }
        total += u64::try_from(length).unwrap_or(0);
    }
}

/// One that was started by an agentkernel which did not know the question yet hangs up.
fn unanswered(answer: Option<Reply>) -> Error {
    match answer {
        None => Error::new(Kind::Conflict, "the sandbox ended, or was started by an older agentkernel")
            .with_hint("stop and start the sandbox"),
        other => process::unexpected(other, &Exec::none()),
    }
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
    if kind_of(fault) == Kind::Invalid {
        let message = format!("{path} in the sandbox is not a regular file");
        return Error::invalid(message).with_source(fault.io_error());
    }
    named_error(&format!("cannot open {path} in the sandbox"), fault)
}

fn named_error(what: &str, fault: &Fault) -> Error {
    let kind = kind_of(fault);
    let what = match kind {
        Kind::Invalid => format!("{what}: it is not a regular file"),
        _ => what.to_owned(),
    };
    Error::new(kind, what).with_source(fault.io_error())
}

const fn kind_of(fault: &Fault) -> Kind {
    match fault.errno {
        libc::ENOENT | libc::ENOTDIR => Kind::NotFound,
        libc::EROFS | libc::EACCES | libc::EPERM => Kind::Denied,
        libc::ENOSPC | libc::EDQUOT => Kind::Exhausted,
        libc::EBUSY => Kind::Conflict,
        libc::EINVAL | libc::EISDIR | libc::ELOOP | libc::ENXIO => Kind::Invalid,
        _ => Kind::Internal,
    }
}
