//! An engine's directory, and what must be gone with it: processes, mounts, cgroups, and the few places outside.

use crate::{leftovers::Scope, proc};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Signal, pidfd_send_signal},
};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::{ffi::OsStringExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The longest name of a directory in which all sockets of the engines have names that a socket can have.
const LONGEST: usize = 70;
/// How long processes that were told to end have for it.
const GRACE: Duration = Duration::from_secs(5);
const CGROUPS: &str = "/sys/fs/cgroup";

#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// `KEY=VALUE` in the environment of the engine's helpers.
    marker: String,
    /// Places outside that an engine makes and that were not there before.
    outside: Vec<PathBuf>,
}

impl Place {
    /// Makes the private directory `path`. `outside` is where else the engine leaves something, cgroups aside.
    pub(super) fn make(path: &Path, marker: String, outside: &[&str]) -> Result<Self> {
        let name = path.to_str().filter(|name| name.starts_with('/') && name.len() <= LONGEST);
        if name.is_none() {
            return Err(Error::invalid(format!(
                "an engine's directory has an absolute name of at most {LONGEST} bytes, not '{}'",
                path.display()
            )));
        }
        DirBuilder::new()
            .mode(0o700)
            .create(path)
            .map_err(|e| Error::io(format!("cannot make '{}'", path.display()), e))?;
        let absent = |p: &PathBuf| p.symlink_metadata().is_err();
        let outside = outside.iter().map(PathBuf::from).filter(absent).collect();
        Ok(Self { path: path.to_owned(), marker, outside })
    }

    /// Has the cgroup `name` removed from all hierarchies as well, where it is not there yet.
    pub(super) fn add_cgroup(&mut self, name: &str) {
        let hierarchies = directories(Path::new(CGROUPS)).into_iter().chain([PathBuf::from(CGROUPS)]);
        self.outside.extend(hierarchies.map(|h| h.join(name)).filter(|p| !p.exists()));
    }

    /// Makes a private directory in the place.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| Error::io(format!("cannot make '{}'", path.display()), e))?;
        Ok(path)
    }

    /// Writes a file in the place.
    pub(super) fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(|e| Error::io(format!("cannot write '{}'", path.display()), e))?;
        Ok(path)
    }

    fn scope(&self) -> Scope {
        Scope {
            directories: vec![self.path.clone()],
            marker: Some(self.marker.clone()),
            cgroup_marks: Vec::new(),
        }
    }

    /// Ends every process that belongs to the place: first in order, then at once.
    pub(super) fn end_processes(&self) -> Result<()> {
        let io = |e| Error::io(format!("cannot end what runs in '{}'", self.path.display()), e);
        for signal in [Signal::TERM, Signal::KILL] {
            let deadline = Instant::now() + GRACE;
            let mut handles = Vec::new();
            for pid in self.processes().map_err(io)? {
                let Some(handle) = proc::handle(pid) else { continue };
                // Asked again now that the handle is there: meanwhile the pid may have changed hands.
                if self.processes().map_err(io)?.contains(&pid) {
                    // ESRCH: it has ended by itself.
                    let _ended = pidfd_send_signal(&handle, signal);
                    handles.push(handle);
                }
            }
            for handle in &handles {
                proc::wait_until(handle, deadline).map_err(io)?;
            }
        }
        match self.processes().map_err(io)?.as_slice() {
            [] => Ok(()),
            left => Err(Error::new(Kind::Unavailable, format!("processes {left:?} outlive SIGKILL"))),
        }
    }

    fn processes(&self) -> io::Result<Vec<i32>> {
        self.scope().processes()
    }

    /// Removes the directory and everything outside that was not there before. Doing it twice is success.
    pub(super) fn remove(&self) -> Result<()> {
        let io = |what: &str| {
            let what = format!("cannot {what} '{}'", self.path.display());
            move |e| Error::io(what, e)
        };
        for mount in mounts_below(&self.path).map_err(io("list the mounts below"))?.iter().rev() {
            unmount(mount, UnmountFlags::DETACH).map_err(|e| io("unmount what is below")(e.into()))?;
        }
        self.outside.iter().rev().for_each(|path| erase(path));
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io("remove")(e)),
            _ => Ok(()),
        }
    }
}

/// Mount points below `directory` in the mount namespace of this process, in the order in which they were mounted.
fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let lines = fs::read("/proc/self/mountinfo")?;
    let points = lines.split(|b| *b == b'\n').filter_map(|line| line.split(|b| *b == b' ').nth(4));
    Ok(points.map(|point| PathBuf::from(unescaped(point))).filter(|p| p.starts_with(directory)).collect())
}

/// A name of mountinfo, where blanks and the like stand as `\040`.
fn unescaped(name: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        let octal =
            tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

/// Removes a file, or a directory with nothing but directories in it. What is in use stays: another engine has it.
fn erase(path: &Path) {
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        directories(path).iter().for_each(|below| erase(below));
        let _tried = fs::remove_dir(path);
    } else {
        let _tried = fs::remove_file(path);
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
