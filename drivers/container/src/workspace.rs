//! The project where the engine cannot lay an overlay over it: a bounded copy, once.

use crate::watch;
use agentkernel_archive::{Crossing, PackOptions, pack};
use agentkernel_backend::Files as _;
use agentkernel_guest::client::Client;
use agentkernel_model::{Error, Kind, Result, mount::Workspace, spec::SandboxSpec};
use rustix::{
    fs::{CWD, Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd as _,
    path::Path,
};

/// The most bytes of a project that are copied.
const MAX_BYTES: u64 = 1 << 30;

/// Copies the project of `spec` to its place inside.
///
/// # Errors
/// [`Kind::Exhausted`] for a project that is too large; when it cannot be read.
pub(crate) async fn fill(client: &Client, spec: &SandboxSpec) -> Result<()> {
    let Workspace::View(source) = &spec.workspace else { return Ok(()) };
    let failed = |e: io::Error| Error::io("cannot copy the project", e);
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let own = source.clone();
    let packing =
        tokio::task::spawn_blocking(move || send(&own, Bounded { to: File::from(write), left: MAX_BYTES }));
    let unpacked = client.unpack(&"/".parse()?, read).await;
    packing.await.map_err(|e| Error::internal("the copy was interrupted").with_source(e))??;
    unpacked
}

fn send(source: &Path, to: Bounded) -> Result<()> {
    let failed = |e| Error::io(format!("cannot read {}", source.display()), e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = watch::open(CWD, source.as_os_str(), source)?;
    let opened = rustix::fs::openat(place, ".", flags, Mode::empty());
    let directory = opened.map_err(|e| failed(e.into()))?;
    let name = Workspace::TARGET.trim_start_matches('/');
    let options = PackOptions { crossing: Crossing::Stay };
    match pack(directory.as_fd(), name, to, &options) {
        Err(e) if e.kind() == Kind::Exhausted => {
            Err(Error::new(Kind::Exhausted, format!("the project is larger than {} MB", MAX_BYTES >> 20))
                .with_hint("mount it with --dir, or add --no-workspace"))
        }
        other => other.map(drop),
    }
}

struct Bounded {
    to: File,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.left = self.left.checked_sub(written as u64).ok_or(io::ErrorKind::StorageFull)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
