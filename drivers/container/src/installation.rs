//! The agent's files as containers see them: this program, its ELF interpreter and its libraries, side by side.
//!
//! An image may have another C library or none, so the agent brings its own. Containers keep the path of what is mounted
//! for as long as they exist, so that path is a link, which is replaced in one step when the program is another.

use agentkernel_archive::remove_tree;
use agentkernel_backend::Host;
use agentkernel_model::{Error, Result};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{CWD, FlockOperation, Mode, OFlags, flock},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

const PROGRAM: &str = "agentkernel";
const INTERPRETER: &str = "ld.so";
const CURRENT: &str = "current";
/// What a build is called while it is removed.
const OLD: &str = "old.";
/// What is this old and was never given its name is nobody's work any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where the files are, and how they are started inside.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    /// The link that is mounted.
    pub(crate) source: PathBuf,
    /// What it links to, whose name tells one build from another.
    pub(crate) build: PathBuf,
    is_static: bool,
    /// Locked for as long as this process lives, so that [`sweep`] leaves what its containers run from.
    _lease: Arc<OwnedFd>,
}

/// Where the installations of a data directory are.
pub(crate) fn place(host: &Host) -> PathBuf {
    host.data.join("agent")
}

impl Installation {
    /// The words that start the agent where `source` is mounted at `inside`.
    pub(crate) fn command(&self, inside: &str, word: &str) -> Vec<String> {
        let program = format!("{inside}/{PROGRAM}");
        let mut words = match self.is_static {
            true => vec![program],
            false => {
                let interpreter = format!("{inside}/{INTERPRETER}");
                vec![interpreter, "--inhibit-cache".into(), "--library-path".into(), inside.into(), program]
            }
        };
        words.push(word.to_owned());
        words
    }

    /// The installation of `exe` in `dir`, made where it is not there yet.
    ///
    /// # Errors
    /// When `exe` cannot be read, or `dir` cannot be written.
    pub(crate) fn of(exe: &Path, dir: &Path) -> Result<Self> {
        let failed =
            |e: io::Error| Error::io(format!("cannot install the sandbox's agent in {}", dir.display()), e);
        let key = key(exe).map_err(failed)?;
        let place = dir.join(&key);
        let source = dir.join(CURRENT);
        let lease = loop {
            if !place.is_dir() {
                make(exe, dir, &place).map_err(failed)?;
            }
            if let Some(lease) = lease(&place).map_err(|e| failed(e.into()))? {
                break lease;
            }
        };
        if fs::read_link(&source).ok().as_deref() != Some(Path::new(&key)) {
            let fresh = dir.join(format!("{CURRENT}.{}", std::process::id()));
            let _ = fs::remove_file(&fresh);
            symlink(&key, &fresh).and_then(|()| fs::rename(&fresh, &source)).map_err(failed)?;
        }
        let is_static = !place.join(INTERPRETER).exists();
        Ok(Self { source, build: place, is_static, _lease: Arc::new(lease) })
    }
}

fn open(place: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The lock that a build's users share; `None` when the build was swept before it was had.
fn lease(place: &Path) -> Result<Option<OwnedFd>, Errno> {
    let lease = match open(place) {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    // Somebody who sweeps holds it for as long as a few files are removed.
    rustix::io::retry_on_intr(|| flock(&lease, FlockOperation::LockShared))?;
    let held = rustix::fs::fstat(&lease)?;
    let same =
        rustix::fs::stat(place).is_ok_and(|now| (now.st_dev, now.st_ino) == (held.st_dev, held.st_ino));
    Ok(same.then_some(lease))
}

/// Removes the builds in `dir` that no process uses and that are not the current one, and what was never finished; the
/// bytes that were freed. Blocks.
///
/// # Errors
/// When something cannot be removed; the rest is.
pub(crate) fn sweep(dir: &Path) -> Result<u64> {
    let failed =
        |e: io::Error| Error::io(format!("cannot remove old builds of the agent in {}", dir.display()), e);
    let current = fs::read_link(dir.join(CURRENT)).ok();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(failed)?,
    };
    let (mut freed, mut first) = (0_u64, Ok(()));
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if current.as_deref() == Some(Path::new(&name)) || name == CURRENT {
            continue;
        }
        match discard(dir, &entry) {
            Ok(bytes) => freed = freed.saturating_add(bytes),
            Err(e) => first = first.and(Err(failed(e))),
        }
    }
    first.map(|()| freed)
}

/// Removes one of the things in `dir`, unless it is in use.
fn discard(dir: &Path, entry: &fs::DirEntry) -> io::Result<u64> {
    let (path, name) = (entry.path(), entry.file_name());
    let meta = entry.metadata()?;
    if name.as_bytes().contains(&b'.') && !name.as_bytes().starts_with(OLD.as_bytes()) {
        // Somebody makes it now, or was killed at it.
        let age = SystemTime::now().duration_since(meta.modified()?).unwrap_or_default();
        if age < ABANDONED {
            return Ok(0);
        }
    }
    if !meta.is_dir() {
        fs::remove_file(&path)?;
        return Ok(0);
    }
    let lock = match open(&path) {
        Err(Errno::NOENT) => return Ok(0),
        other => other?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(0),
        other => other?,
    }
    let doomed = match name.as_bytes().starts_with(OLD.as_bytes()) {
        true => path,
        // In one step, for whoever has just opened it to use it.
        false => {
            let doomed = dir.join(format!("{OLD}{}.{}", name.display(), std::process::id()));
            fs::rename(&path, &doomed)?;
            doomed
        }
    };
    let bytes = bytes_of(&lock)?;
    remove_tree(&doomed)?;
    Ok(bytes)
}

/// What its removal frees: of the program there are other names.
fn bytes_of(build: &OwnedFd) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in rustix::fs::Dir::read_from(build.as_fd())? {
        let stat = rustix::fs::statat(build, entry?.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let only = stat.st_nlink == 1 && rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        bytes = bytes.saturating_add(if only { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 });
    }
    Ok(bytes)
}

/// Tells one build of the program from another without reading it.
fn key(exe: &Path) -> io::Result<String> {
    let meta = fs::metadata(exe)?;
    let mut hash = Sha256::new();
    hash.update(exe.as_os_str().as_bytes());
    for number in
        [meta.dev(), meta.ino(), meta.size(), meta.mtime().cast_unsigned(), meta.mtime_nsec().cast_unsigned()]
    {
        hash.update(number.to_le_bytes());
    }
    Ok(hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}

/// Made beside its place and moved there whole: two processes may do it at once.
fn make(exe: &Path, dir: &Path, place: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let fresh = dir.join(format!("new.{}", std::process::id()));
    let _ = fs::remove_dir_all(&fresh);
    DirBuilder::new().mode(0o755).create(&fresh)?;
    // Root of a remapped engine is somebody else here, whatever the caller's umask is.
    for open in [dir, &fresh] {
        fs::set_permissions(open, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let filled = fill(exe, &fresh);
    match filled.and_then(|()| fs::rename(&fresh, place)) {
        Ok(()) => Ok(()),
        // Somebody else was faster.
        Err(_) if place.is_dir() => fs::remove_dir_all(&fresh),
        Err(e) => {
            let _ = fs::remove_dir_all(&fresh);
            Err(e)
        }
    }
}

fn fill(exe: &Path, into: &Path) -> io::Result<()> {
    bring(exe, &into.join(PROGRAM))?;
    let Some(interpreter) = interpreter(exe)? else { return Ok(()) };
    fs::write(into.join(INTERPRETER), without_preload(&interpreter)?)?;
    fs::set_permissions(into.join(INTERPRETER), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    for library in libraries(&interpreter, exe)? {
        let name = library.file_name().ok_or(io::ErrorKind::InvalidData)?;
        bring(&library, &into.join(name))?;
    }
    Ok(())
}

/// The interpreter, which in a container must not read `/etc/ld.so.preload` (ld.so(8)): that file is the image's or a
/// command's, and what it names would be loaded into process 1. No option turns it off, so the name is made one that
/// never exists.
fn without_preload(interpreter: &Path) -> io::Result<Vec<u8>> {
    const NAME: &[u8] = b"/etc/ld.so.preload\0";
    const NOWHERE: &[u8] = b"/dev/null/preload\0\0";
    const { assert!(NAME.len() == NOWHERE.len()) };
    let mut file = fs::read(interpreter)?;
    let mut found = 0;
    let mut from = 0;
    while let Some(at) = file[from..].windows(NAME.len()).position(|window| window == NAME) {
        file[from + at..][..NAME.len()].copy_from_slice(NOWHERE);
        from += at + NAME.len();
        found += 1;
    }
    // Only the C library of GNU has it; where it is not found there, it is not known what that one does.
    let is_gnu = interpreter.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ld-linux"));
    if is_gnu && found != 1 {
        let why = format!("{} names /etc/ld.so.preload {found} times, not once", interpreter.display());
        return Err(io::Error::other(why));
    }
    Ok(file)
}

/// Another name of the same file where that is possible: the program is large, and is replaced, not changed, by its next
/// version. The libraries of the system are small and copied.
fn bring(from: &Path, to: &Path) -> io::Result<()> {
    let own = fs::metadata(from)?.uid() == rustix::process::geteuid().as_raw() && to.ends_with(PROGRAM);
    if own && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)?;
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

/// The program header `PT_INTERP` of a 64-bit little-endian ELF file (elf(5)); `None` for a static one.
fn interpreter(exe: &Path) -> io::Result<Option<PathBuf>> {
    let mut head = Vec::new();
    File::open(exe)?.take(64 << 10).read_to_end(&mut head)?;
    let strange = || io::Error::new(io::ErrorKind::InvalidData, "this program is no 64-bit ELF file");
    let number = |at: usize, bytes: usize| -> io::Result<usize> {
        let field = head.get(at..at + bytes).ok_or_else(strange)?;
        field
            .iter()
            .rev()
            .try_fold(0_usize, |n, b| n.checked_mul(256).map(|n| n + usize::from(*b)))
            .ok_or_else(strange)
    };
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return Err(strange());
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for entry in (0..count).map(|index| table + index * size) {
        if number(entry, 4)? == 3 {
            let (offset, length) = (number(entry + 8, 8)?, number(entry + 32, 8)?);
            let text = head.get(offset..offset.saturating_add(length)).ok_or_else(strange)?;
            let text = text.strip_suffix(b"\0").unwrap_or(text);
            return Ok(Some(std::ffi::OsStr::from_bytes(text).into()));
        }
    }
    Ok(None)
}

/// What `interpreter` says that `exe` needs (ld.so(8), `--list`): lines `name => /path (0x...)`.
fn libraries(interpreter: &Path, exe: &Path) -> io::Result<Vec<PathBuf>> {
    let mut list = Command::new(interpreter);
    list.arg("--list").arg(exe).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    let said = list.output()?;
    if !said.status.success() {
        return Err(io::Error::other(format!("{} --list failed: {}", interpreter.display(), said.status)));
    }
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let path = |line: &str| {
        let (_, rest) = line.split_once(" => ")?;
        Some(PathBuf::from(rest.rsplit_once(" (")?.0))
    };
    Ok(text.lines().filter_map(path).filter(|path| path.is_absolute()).collect())
}

#[cfg(test)]
#[path = "installation_tests.rs"]
mod tests;
