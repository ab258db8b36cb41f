//! Files into and out of a sandbox, as tar streams: `sandbox cp` and `sandbox export`.

use crate::{
    awake::Awake,
    engine::Engine,
    query, record,
    request::{Copied, CopySource, Status},
};
use agentkernel_archive::{
    Bounds, Crossing, Existing, Ownership, PackOptions, UnpackOptions, Whiteouts, pack, unpack,
};
use agentkernel_backend::{FileKind, Sandbox};
use agentkernel_model::{
    Error, Kind, Result, id::SandboxId, name::SandboxName, path::GuestPath, text::printable,
};
use rustix::{
    fd::{AsFd as _, BorrowedFd},
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// What may come out of a sandbox in one go. Beyond what any disk holds, it is there so that an endless file ends.
const BOUNDS: Bounds = Bounds { bytes: 1 << 40, entries: 10_000_000 };

/// Copies `from`, of this machine, to `to` inside.
pub(crate) async fn copy_in(
    engine: &Engine,
    name: &SandboxName,
    from: &CopySource<PathBuf>,
    to: &GuestPath,
) -> Result<Copied> {
    let source = open_source(&from.path)?;
    let is_directory = source.is_directory;
    with_sandbox(engine, name, |sandbox: Arc<dyn Sandbox>| async move {
        let files = sandbox.files();
        let (directory, entry) = match (files.kind(to).await?, is_directory) {
            (Some(FileKind::Directory), true) if from.contents => (to.clone(), ".".to_owned()),
            (Some(FileKind::Directory), _) => (to.clone(), last_of(&from.path)?),
            (Some(_), true) => {
                return Err(Error::invalid(format!("'{to}' in the sandbox is no directory"))
                    .with_hint("copy a directory to a place that does not exist, or into a directory"));
            }
            (None | Some(_), _) => beside(to)?,
        };
        let (reading, writing) = pipe()?;
        let packing = tokio::task::spawn_blocking(move || {
            let options = PackOptions { crossing: Crossing::Enter };
            pack(source.fd.as_fd(), &entry, File::from(writing), &options)
        });
        let unpacked = files.unpack(&directory, reading).await;
        let packed = joined(packing.await);
        // Whichever failed first broke the other one's pipe.
        match (packed, unpacked) {
            (Ok(packed), Ok(())) => {
                Ok(Copied { bytes: packed.bytes, entries: packed.entries, skipped: packed.skipped })
            }
            (Err(ours), Err(theirs)) => Err(if is_broken_pipe(&ours) { theirs } else { ours }),
            (Err(e), Ok(())) | (Ok(_), Err(e)) => Err(e),
        }
    })
    .await
}

/// Copies `from` inside to `to` on this machine.
pub(crate) async fn copy_out(
    engine: &Engine,
    name: &SandboxName,
    from: &CopySource<GuestPath>,
    to: &Path,
) -> Result<Copied> {
    with_sandbox(engine, name, |sandbox: Arc<dyn Sandbox>| async move {
        let kind = sandbox.files().kind(&from.path).await?;
        let kind = kind.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("there is no '{}' in the sandbox '{name}'", from.path))
        })?;
        let target = Target::choose(from, kind, to)?;
        let copied = receive(&sandbox, &from.path, &target).await?;
        target.finish()?;
        Ok(copied)
    })
    .await
}

/// Writes the sandbox's own files to `to` as a tar archive: everything but what is mounted.
pub(crate) async fn export(engine: &Engine, name: &SandboxName, to: OwnedFd) -> Result<()> {
    with_sandbox(engine, name, |sandbox: Arc<dyn Sandbox>| async move {
        sandbox.files().pack(&"/".parse()?, ".", to).await
    })
    .await
}

/// Does `work` on the running sandbox; one that is stopped is started for it, and stopped again, also when this is
/// dropped half way.
pub(crate) async fn with_sandbox<T, Work: Future<Output = Result<T>>>(
    engine: &Engine,
    name: &SandboxName,
    work: impl FnOnce(Arc<dyn Sandbox>) -> Work,
) -> Result<T> {
    let awake = match query::info(engine, name)?.status {
        Status::Stopped => Some(Awake::wake(engine, name).await?),
        Status::Running | Status::Unknown => None,
    };
    let result = match attach(engine, name).await {
        Ok(sandbox) => work(sandbox).await,
        Err(error) => Err(error),
    };
    let Some(awake) = awake else { return result };
    let stopped = awake.end().await;
    result.and_then(|value| stopped.map(|()| value))
}

pub(crate) async fn attach(engine: &Engine, name: &SandboxName) -> Result<Arc<dyn Sandbox>> {
    let record = query::by_name(engine, name)?;
    record::check_finished(name, record.intent)?;
    let backend = engine.backend(engine.registry.find(record.backend.as_str())?)?;
    let state = record::decode_state(record.state.as_deref())?;
    let state =
        state.ok_or_else(|| Error::internal(format!("the record of the sandbox '{name}' has no state")))?;
    backend.attach(record.id, &state).await?.ok_or_else(|| {
        Error::new(Kind::Conflict, format!("the sandbox '{name}' is not running"))
            .with_hint(format!("agentkernel sandbox start {name}"))
    })
}

/// Where on this machine something arrives. A sandbox may be able to write there as well, and change it meanwhile: every
/// step is from an open directory to a name in it, and through no link.
#[derive(Debug)]
enum Target {
    /// A directory's content, into this directory.
    Directory(OwnedFd),
    /// One file or link: into `parcel`, and from there to `name` in `parent`.
    Entry { parcel: Parcel, name: OsString },
}

impl Target {
    /// As cp(1) and `docker cp` choose: into a directory that is there, else under the name that was written.
    fn choose(from: &CopySource<GuestPath>, kind: FileKind, to: &Path) -> Result<Self> {
        let shown = printable(&to.to_string_lossy());
        let own = from.path.as_str().rsplit('/').next().filter(|name| !name.is_empty());
        let contents = from.contents && kind == FileKind::Directory;
        match open_directory(to) {
            Ok(there) => match own {
                Some(name) if !contents => Self::inside(there, name.into(), kind, &shown),
                _ => Ok(Self::Directory(there)),
            },
            Err(Errno::LOOP) => Err(a_link(&shown)),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                if kind != FileKind::Directory && to.as_os_str().as_encoded_bytes().ends_with(b"/") {
                    return Err(Error::new(Kind::NotFound, format!("there is no directory '{shown}'"))
                        .with_hint(format!("mkdir {shown}")));
                }
                let (parent, name) = parts(to)?;
                let parent = open_directory(&parent).map_err(|e| not_made(&shown, e))?;
                Self::inside(parent, name, kind, &shown)
            }
            Err(errno) => Err(not_made(&shown, errno)),
        }
    }

    /// `name` in `parent`.
    fn inside(parent: OwnedFd, name: OsString, kind: FileKind, shown: &str) -> Result<Self> {
        if kind != FileKind::Directory {
            return Ok(Self::Entry { parcel: Parcel::new(parent, shown)?, name });
        }
        match rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(not_made(shown, errno)),
        }
        match rustix::fs::openat(&parent, &name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(there) => Ok(Self::Directory(there)),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                Err(Error::new(Kind::AlreadyExists, format!("'{shown}' is there and is no directory"))
                    .with_hint("remove it, or choose another place"))
            }
            Err(errno) => Err(not_made(shown, errno)),
        }
    }

    /// The directory to unpack into, and the name of what is packed.
    fn place(&self) -> (BorrowedFd<'_>, &'static str) {
        match self {
            Self::Directory(directory) => (directory.as_fd(), "."),
            Self::Entry { parcel, .. } => (parcel.directory.as_fd(), Parcel::CONTENT),
        }
    }

    fn finish(self) -> Result<()> {
        let Self::Entry { parcel, name } = self else { return Ok(()) };
        rustix::fs::renameat(&parcel.directory, Parcel::CONTENT, &parcel.parent, &name)
            .map_err(|e| not_made(&printable(&name.to_string_lossy()), e))
    }
}

/// A directory of our own beside the target: what comes out of a sandbox is unpacked there, and moved when it is whole.
#[derive(Debug)]
struct Parcel {
    parent: OwnedFd,
    directory: OwnedFd,
    name: String,
}

impl Parcel {
    const CONTENT: &str = "file";

    fn new(parent: OwnedFd, shown: &str) -> Result<Self> {
        let fail = |e| not_made(shown, e);
        let name = format!(".agentkernel-cp-{}", SandboxId::new());
        rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o700)).map_err(fail)?;
        let directory =
            rustix::fs::openat(&parent, &name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(fail)?;
        Ok(Self { parent, directory, name })
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // Moved away when all went well; one entry at most is left otherwise.
        let _ = rustix::fs::unlinkat(&self.directory, Self::CONTENT, AtFlags::empty());
        let _ = rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory at `path`, through no link at all: who can write to one on the way could lead us elsewhere.
fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    walk(path, DIRECTORY)
}

/// Opens `path` component by component, none of which may be a link.
fn walk(path: &Path, last: OFlags) -> Result<OwnedFd, Errno> {
    let mut at = match path.is_absolute() {
        true => rustix::fs::open("/", DIRECTORY, Mode::empty())?,
        false => rustix::fs::open(".", DIRECTORY, Mode::empty())?,
    };
    let mut parts =
        path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).peekable();
    let step = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { step } else { last | OFlags::NOFOLLOW };
        at = match rustix::fs::openat(&at, part.as_os_str(), flags, Mode::empty()) {
            // What the kernel says of a link where a directory is wanted.
            Err(Errno::NOTDIR) if is_link(&at, part.as_os_str()) => return Err(Errno::LOOP),
            other => other?,
        };
    }
    Ok(at)
}

fn is_link(at: &OwnedFd, name: &OsStr) -> bool {
    let found = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn a_link(shown: &str) -> Error {
    Error::new(Kind::Denied, format!("'{shown}' is, or leads through, a symbolic link"))
        .with_hint("name the place that it leads to: realpath tells it")
}

/// The directory that `path` is in, and its last component.
fn parts(path: &Path) -> Result<(PathBuf, OsString)> {
    let name = path.file_name().ok_or_else(|| {
        Error::invalid(format!("'{}' has no name of its own", printable(&path.to_string_lossy())))
            .with_hint("name the target in full")
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_owned(), name.to_owned()))
}

fn not_made(shown: &str, errno: Errno) -> Error {
    match errno {
        Errno::LOOP => a_link(shown),
        Errno::NOENT | Errno::NOTDIR => {
            Error::new(Kind::NotFound, format!("there is no place to make '{shown}' in"))
                .with_source(io::Error::from(errno))
                .with_hint("make the directory first")
        }
        Errno::ACCESS | Errno::PERM | Errno::ROFS => {
            Error::new(Kind::Denied, format!("cannot write '{shown}'")).with_source(io::Error::from(errno))
        }
        _ => Error::io(format!("cannot write '{shown}'"), errno.into()),
    }
}

async fn receive(sandbox: &Arc<dyn Sandbox>, from: &GuestPath, target: &Target) -> Result<Copied> {
    let (place, entry) = target.place();
    let into = place.try_clone_to_owned().map_err(|e| Error::io("cannot duplicate a descriptor", e))?;
    let (reading, writing) = pipe()?;
    let unpacking = tokio::task::spawn_blocking(move || {
        let options = UnpackOptions {
            bounds: BOUNDS,
            ownership: Ownership::Caller,
            whiteouts: Whiteouts::Plain,
            existing: Existing::Merge,
        };
        unpack(File::from(reading), into.as_fd(), &options)
    });
    let packed = sandbox.files().pack(from, entry, writing).await;
    let unpacked = joined(unpacking.await);
    match (packed, unpacked) {
        (Ok(()), Ok(made)) => {
            Ok(Copied { bytes: made.bytes, entries: made.entries, skipped: made.devices_skipped })
        }
        // An archive that ends early, because the other side failed.
        (Err(theirs), Err(ours)) => Err(if ours.kind() == Kind::Invalid { theirs } else { ours }),
        (Err(e), Ok(_)) | (Ok(()), Err(e)) => Err(e),
    }
}

/// What is copied in, opened once: what it is now is what is copied.
#[derive(Debug)]
struct Source {
    fd: OwnedFd,
    is_directory: bool,
}

fn open_source(path: &Path) -> Result<Source> {
    let shown = printable(&path.to_string_lossy());
    let fail = |errno: Errno| match errno {
        Errno::LOOP => a_link(&shown),
        Errno::NOENT | Errno::NOTDIR => {
            Error::new(Kind::NotFound, format!("there is no '{shown}' on this machine"))
                .with_source(io::Error::from(errno))
        }
        _ => Error::new(Kind::Denied, format!("cannot read '{shown}'")).with_source(io::Error::from(errno)),
    };
    // A link is copied as the link that it is, and none is followed on the way: a sandbox that can write there could have
    // put it there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match walk(path, flags) {
        Err(Errno::LOOP) => link_itself(path).map_err(fail)?,
        other => other.map_err(fail)?,
    };
    let kind = rustix::fs::fstat(&fd).map(|stat| FileType::from_raw_mode(stat.st_mode)).map_err(fail)?;
    match kind {
        FileType::Directory => Ok(Source { fd, is_directory: true }),
        FileType::RegularFile | FileType::Symlink => Ok(Source { fd, is_directory: false }),
        _ => Err(Error::invalid(format!("'{shown}' is neither a file nor a directory"))),
    }
}

#[cfg(target_os = "linux")]
fn link_itself(path: &Path) -> Result<OwnedFd, Errno> {
    walk(path, OFlags::PATH | OFlags::CLOEXEC)
}

/// Only Linux can open a link.
#[cfg(not(target_os = "linux"))]
fn link_itself(_path: &Path) -> Result<OwnedFd, Errno> {
    Err(Errno::LOOP)
}

/// The last component of a path, resolved where it is `.` or `..`.
fn last_of(path: &Path) -> Result<String> {
    let named = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let resolved = || fs::canonicalize(path).ok().and_then(|path| named(&path));
    named(path).or_else(resolved).ok_or_else(|| {
        Error::invalid(format!("'{}' has no name to copy it under", printable(&path.to_string_lossy())))
            .with_hint("name the target in full")
    })
}

/// The directory that `path` is in, and its name there.
fn beside(path: &GuestPath) -> Result<(GuestPath, String)> {
    let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
    let parent = if parent.is_empty() { "/" } else { parent };
    Ok((parent.parse()?, name.to_owned()))
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = io::pipe().map_err(|e| Error::io("cannot make a pipe", e))?;
    Ok((reading.into(), writing.into()))
}

fn joined<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|e| Error::internal("a copy was cut off").with_source(e))?
}

fn is_broken_pipe(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}
