//! The project: a bounded copy, once. There is nothing here that could lay a layer over a directory of the host.

use super::{inside::Inside, plan, program::SLOW, scripts};
use agentkernel_archive::{Crossing, PackOptions, pack};
use agentkernel_model::{Error, Kind, Result, command::User, mount::Workspace, spec::SandboxSpec};
use rustix::fs::{Mode, OFlags, open};
use std::{
    fs,
    io::{self, PipeWriter, Write},
    os::fd::AsFd as _,
    path::Path,
};

/// The most bytes of a project that are copied.
const MAX_BYTES: u64 = 1 << 30;

/// Whether each directory of the host that `spec` names is what its name says: a sandbox that can write beside one could
/// have put a link in its place.
///
/// # Errors
/// When one has a symbolic link in its path, or is gone.
pub(crate) fn check(spec: &SandboxSpec) -> Result<()> {
    if let Workspace::View(source) = &spec.workspace {
        check_source(source)?;
    }
    plan::mounts(spec).iter().try_for_each(|mount| check_source(&mount.source))
}

fn check_source(source: &Path) -> Result<()> {
    let real = fs::canonicalize(source);
    let real = real.map_err(|e| Error::io(format!("cannot mount {}", source.display()), e))?;
    if real == source {
        return Ok(());
    }
    let found = format!("there is a symbolic link in {}, which is not mounted", source.display());
    Err(Error::new(Kind::Conflict, found).with_hint("name the directory that the link leads to"))
}

/// Copies the project of `spec` to its place inside, where it is `user`'s.
///
/// # Errors
/// [`Kind::Exhausted`] for a project that is too large; when it cannot be read.
pub(crate) async fn fill(inside: &Inside, spec: &SandboxSpec, user: User) -> Result<()> {
    let Workspace::View(source) = &spec.workspace else { return Ok(()) };
    let (read, write) = io::pipe().map_err(|e| Error::io("cannot copy the project", e))?;
    let own = source.clone();
    let packing = tokio::task::spawn_blocking(move || send(&own, Bounded { to: write, left: MAX_BYTES }));
    // Whose it is here says nothing there.
    let unpacked = inside.unpack_with(&"/".parse()?, "-xof", read.into()).await;
    packing.await.map_err(|e| Error::internal("the copy was interrupted").with_source(e))??;
    unpacked?;
    if !user.is_root() {
        let words = inside.script(scripts::GIVE, &[], &[Workspace::TARGET, &user.to_string()]);
        inside.program.demand(&words, SLOW).await?;
    }
    Ok(())
}

fn send(source: &Path, to: Bounded) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = open(source, flags, Mode::empty());
    let directory = opened.map_err(|e| Error::io(format!("cannot read {}", source.display()), e.into()))?;
    let name = Workspace::TARGET.trim_start_matches('/');
    match pack(directory.as_fd(), name, to, &PackOptions { crossing: Crossing::Stay }) {
        Err(e) if e.kind() == Kind::Exhausted => {
            Err(Error::new(Kind::Exhausted, format!("the project is larger than {} MB", MAX_BYTES >> 20))
                .with_hint("mount it with --dir, or add --no-workspace"))
        }
        other => other.map(drop),
    }
}

struct Bounded {
    to: PipeWriter,
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
