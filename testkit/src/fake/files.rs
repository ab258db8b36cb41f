//! Files of a fake sandbox: resolved in its root, links included.

use super::{
    command::in_root,
    control::{FakeControl, Step},
    store::Home,
};
use agentkernel_archive::{
    Bounds, Crossing, Existing, Ownership, PackOptions, UnpackOptions, Whiteouts, pack, unpack,
};
use agentkernel_backend::{ByteSource, FileKind, FileList, Files, OpenFile};
use agentkernel_guest::entries::{self, Incoming};
use agentkernel_model::{Error, Kind, Result, path::GuestPath};
use async_trait::async_trait;
use rustix::{
    fs::{FileType, Mode, OFlags, fchmod, fstat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

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

    /// Without opening it.
    fn find(&self, path: &GuestPath, flags: OFlags) -> io::Result<File> {
        in_root(&self.home.root(), path.relative(), flags | OFlags::PATH, Mode::empty()).map(File::from)
    }
}

/// What /proc shows is that of whoever looks.
fn check_no_process(path: &GuestPath) -> Result<()> {
    if path.as_str() == "/proc" || path.as_str().starts_with("/proc/") {
        return Err(Error::new(Kind::Denied, format!("'{path}' is not a file of the sandbox")));
    }
    Ok(())
}

impl FakeFiles {
    /// As a sandbox's own process 1 opens paths.
    fn opener(&self) -> impl Fn(&str, OFlags, Mode) -> Result<OwnedFd, Errno> {
        let root = self.home.root();
        move |path, flags, mode| {
            let opened = in_root(&root, path.trim_start_matches('/'), flags, mode);
            opened.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
        }
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

    async fn open(&self, path: &GuestPath) -> Result<OpenFile> {
        check_no_process(path)?;
        self.control.pass(Step::FileRead).await?;
        let file = self.open(path, OFlags::RDONLY, Mode::empty()).map_err(|e| fault("read", path, e))?;
        regular(&file, path)?;
        let size = file.metadata().map_err(|e| fault("read", path, e))?.len();
        Ok(OpenFile { size: Some(size), content: ByteSource::Fd(file.into()) })
    }

    async fn store(
        &self,
        path: &GuestPath,
        mode: u32,
        content: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<u64> {
        self.control.pass(Step::FileWrite).await?;
        let failed = |e| fault("write", path, e);
        let incoming = Incoming::begin(&self.opener(), path.as_str(), mode);
        let mut incoming = incoming.map_err(|e| failed(e.into()))?;
        let (mut total, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            let count = content.read(&mut buffer).await.map_err(failed)?;
            if count == 0 {
                break;
            }
            incoming.file().write_all(&buffer[..count]).map_err(failed)?;
            total += u64::try_from(count).unwrap_or(0);
        }
        incoming.commit().map_err(failed)?;
        Ok(total)
    }

    async fn remove(&self, path: &GuestPath) -> Result<()> {
        self.control.pass(Step::FileWrite).await?;
        entries::remove(&self.opener(), path.as_str()).map_err(|e| fault("remove", path, e.into()))
    }

    async fn list(&self, path: &GuestPath) -> Result<FileList> {
        check_no_process(path)?;
        self.control.pass(Step::FileRead).await?;
        match entries::list(&self.opener(), path.as_str()) {
            Err(Errno::NOTDIR) => Err(Error::invalid(format!("'{path}' is not a directory"))),
            other => other.map_err(|e| fault("list", path, e.into())),
        }
    }

    async fn kind(&self, path: &GuestPath) -> Result<Option<FileKind>> {
        self.control.pass(Step::FileRead).await?;
        let look = |flags| self.find(path, flags);
        let found = match look(OFlags::empty()) {
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            // A link that leads nowhere is something, too.
            Err(e)
                if [Errno::NOENT, Errno::LOOP]
                    .map(|e| Some(e.raw_os_error()))
                    .contains(&e.raw_os_error()) =>
            {
                return Ok(look(OFlags::NOFOLLOW).ok().map(|_| FileKind::Other));
            }
            found => found.map_err(|e| fault("look at", path, e))?,
        };
        let status = fstat(&found).map_err(|e| fault("look at", path, e.into()))?;
        Ok(Some(match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            _ => FileKind::Other,
        }))
    }

    async fn pack(&self, path: &GuestPath, name: &str, into: OwnedFd) -> Result<()> {
        self.control.pass(Step::FileRead).await?;
        let found = self.find(path, OFlags::NOFOLLOW);
        let found = found.map_err(|e| fault("pack", path, e))?;
        let source = if regular(&found, path).is_ok() {
            let file = self.open(path, OFlags::RDONLY | OFlags::NOFOLLOW, Mode::empty());
            file.map_err(|e| fault("pack", path, e))?
        } else {
            found
        };
        let (name, options) = (name.to_owned(), PackOptions { crossing: Crossing::Stay });
        apart(move || pack(source.as_fd(), &name, blocking(into)?, &options).map(drop)).await
    }

    async fn unpack(&self, path: &GuestPath, from: OwnedFd) -> Result<()> {
        self.control.pass(Step::FileWrite).await?;
        let into = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let into = into.map_err(|e| fault("unpack into", path, e))?;
        let options = UnpackOptions {
            bounds: Bounds { bytes: 1 << 40, entries: 1 << 24 },
            ownership: Ownership::Caller,
            whiteouts: Whiteouts::Plain,
            existing: Existing::Replace,
        };
        apart(move || unpack(blocking(from)?, into.as_fd(), &options).map(drop)).await
    }
}

/// On a thread of its own: the other end of the pipe may be waited for by this one.
async fn apart(work: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::internal("an archive's thread ended").with_source(e))?
}

fn blocking(pipe: OwnedFd) -> Result<File> {
    rustix::io::ioctl_fionbio(&pipe, false).map_err(|e| Error::io("cannot use the pipe", e.into()))?;
    Ok(File::from(pipe))
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
        // ENXIO: a FIFO without a reader, or a socket; EINVAL, ELOOP: what is no file.
        io::ErrorKind::IsADirectory => Kind::Invalid,
        _ if [Some(6), Some(22), Some(40)].contains(&error.raw_os_error()) => Kind::Invalid,
        _ => return Error::io(message, error),
    };
    Error::new(kind, message).with_source(error)
}
