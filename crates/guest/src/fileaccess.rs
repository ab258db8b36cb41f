//! Files of a running sandbox, for the host side: init is asked, and its children do it.

use crate::{
    client::Client,
    process,
    wire::{Exec, Fault, OpenMode, Reply, Request},
};
use agentkernel_backend::{FileKind, Files};
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use rustix::fd::{AsFd as _, OwnedFd};
use std::io::{Read, Write};

#[async_trait]
impl Files for Client {
    async fn read(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
        let request = Request::Open { path: path.to_string(), mode: OpenMode::Read };
        let file = self.ask(&request).await?.map_err(|fault| file_error(path, &fault))?;
        let mut content = Vec::new();
        let file = std::fs::File::from(file);
        file.take(limit.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|e| Error::io(format!("cannot read {path} in the sandbox"), e))?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::new(Kind::Exhausted, format!("{path} is longer than {limit} bytes")));
        }
        Ok(content)
    }

    async fn write(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()> {
        let request = Request::Open { path: path.to_string(), mode: OpenMode::Write { mode } };
        let file = self.ask(&request).await?.map_err(|fault| file_error(path, &fault))?;
        let written = std::fs::File::from(file).write_all(content);
        written.map_err(|e| Error::io(format!("cannot write {path} in the sandbox"), e))
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
        match conversation.recv().await? {
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
