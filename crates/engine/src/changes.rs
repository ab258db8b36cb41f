//! Changes of files, as the kernel tells of them.

use agentkernel_model::{Error, Result};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use std::future::pending;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io;
use std::path::Path;

/// Tells when something in a directory changes.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(crate) struct Changes(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Changes {
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let fail = |e: io::Error| Error::io(format!("cannot watch '{}'", directory.display()), e);
        let watch = || {
            let fd = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            add_watch(&fd, directory, what | WatchFlags::ONLYDIR)?;
            Ok::<_, rustix::io::Errno>(fd)
        };
        let fd = watch().map_err(|e| fail(e.into()))?;
        #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that one asks for")]
        let watched = tokio::io::unix::AsyncFd::with_interest(fd, tokio::io::Interest::READABLE);
        watched.map(Self).map_err(fail)
    }

    /// Resolves at the next change; which one it was is for the caller to see.
    pub(crate) async fn wait(&self) -> Result<()> {
        let fail = |e| Error::io("cannot watch a directory", e);
        loop {
            let mut ready = self.0.readable().await.map_err(fail)?;
            let mut events = [0; 4096];
            match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut events).map_err(io::Error::from)) {
                Ok(read) => return read.map(|_| ()).map_err(fail),
                Err(_would_block) => {}
            }
        }
    }
}

/// Tells when something in a directory changes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
pub(crate) struct Changes;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Changes {
    pub(crate) fn of(_: &Path) -> Result<Self> {
        Err(Error::new(
            agentkernel_model::Kind::Unsupported,
            "following a log needs inotify, which only Linux has",
        )
        .with_hint("leave out --follow, and look again later"))
    }

    pub(crate) async fn wait(&self) -> Result<()> {
        pending().await
    }
}
