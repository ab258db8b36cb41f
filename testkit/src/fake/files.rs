//! Files of a fake sandbox: resolved in its root, links included.

use super::{
    command::in_root,
    control::{FakeControl, Step},
    store::Home,
};
use agentkernel_backend::Files;
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
};

#[derive(Debug)]
pub(super) struct FakeFiles {
    pub(super) home: Home,
    pub(super) control: FakeControl,
}

impl FakeFiles {
    fn open(&self, path: &GuestPath, flags: OFlags, mode: Mode) -> io::Result<File> {
        // NONBLOCK: opening a FIFO must not wait for its other end.
        in_root(&self.home.root(), path.relative(), flags | OFlags::NONBLOCK, mode).map(File::from)
    }
}

#[async_trait]
impl Files for FakeFiles {
    async fn read(&self, path: &GuestPath, limit: u64) -> Result<Vec<u8>> {
        self.control.pass(Step::FileRead).await?;
        let file = self.open(path, OFlags::RDONLY, Mode::empty()).map_err(|e| fault("read", path, e))?;
        regular(&file, path)?;
        let mut content = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut content).map_err(|e| fault("read", path, e))?;
        if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit {
            return Err(Error::new(Kind::Exhausted, format!("'{path}' is longer than {limit} bytes")));
        }
        Ok(content)
    }

    async fn write(&self, path: &GuestPath, mode: u32, content: &[u8]) -> Result<()> {
        self.control.pass(Step::FileWrite).await?;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let fresh = self.open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode);
        let mut file = match fresh {
            Ok(file) => {
                // The umask of this process is not the sandbox's business.
                fchmod(&file, mode).map_err(|e| fault("write", path, e.into()))?;
                file
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let file = self
                    .open(path, OFlags::WRONLY | OFlags::CREATE, mode)
                    .map_err(|e| fault("write", path, e))?;
                regular(&file, path)?;
                file.set_len(0).map_err(|e| fault("write", path, e))?;
                file
            }
            Err(e) => return Err(fault("write", path, e)),
        };
        file.write_all(content).map_err(|e| fault("write", path, e))
    }
}

fn regular(file: &File, path: &GuestPath) -> Result<()> {
    let status = fstat(file).map_err(|e| fault("read", path, e.into()))?;
    if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
        return Ok(());
    }
    Err(Error::invalid(format!("'{path}' is not a regular file")))
}

fn fault(verb: &str, path: &GuestPath, error: io::Error) -> Error {
    let message = format!("cannot {verb} '{path}' in the sandbox");
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Kind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Kind::Denied,
        // ENXIO: a FIFO without a reader, or a socket.
        io::ErrorKind::IsADirectory => Kind::Invalid,
        _ if error.raw_os_error() == Some(6) => Kind::Invalid,
        _ => return Error::io(message, error),
    };
    Error::new(kind, message).with_source(error)
}
