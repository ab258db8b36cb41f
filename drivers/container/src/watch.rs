//! Tells whether names on the way to a file came to mean something else meanwhile.
//!
//! Whoever puts a link where a directory was has to move or to remove that directory first, and the kernel writes that down
//! before anybody can follow the link (inotify(7)). What another machine does on a network file system it does not see.

use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd, AsRawFd as _, OwnedFd},
    fs::{
        Access, AtFlags, CWD, Mode, OFlags, ResolveFlags, accessat,
        inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
        openat2,
    },
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

/// The directories above some files, from the root down.
#[derive(Debug)]
pub(crate) struct Watch {
    events: OwnedFd,
    /// Which name in the directory of which number leads to which file.
    names: Vec<(i32, OsString, PathBuf)>,
}

impl Watch {
    /// # Errors
    /// When this user has too many already.
    pub(crate) fn new() -> Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|errno| {
            Error::io("cannot watch the directories that a sandbox shows", errno.into())
                .with_hint("if this user watches too much: sysctl fs.inotify.max_user_instances")
        })?;
        Ok(Self { events, names: Vec::new() })
    }

    /// Opens the file at `path`, step by step, each name watched before it is followed.
    ///
    /// # Errors
    /// As [`open`]; when a directory on the way cannot be watched.
    pub(crate) fn follow(&mut self, path: &Path) -> Result<OwnedFd> {
        let mut at = open(CWD, OsStr::new("/"), path)?;
        // Whether a sandbox that this user shows files to may have made what comes now.
        let mut may_be_theirs = false;
        for component in path.components() {
            match component {
                Component::RootDir => {}
                Component::Normal(name) => {
                    let is_ours = accessat(CWD, place(&at), Access::WRITE_OK, AtFlags::empty()).is_ok();
                    may_be_theirs |= is_ours;
                    self.add(&at, name, path, may_be_theirs)?;
                    at = open(&at, name, path)?;
                }
                _ => return Err(Error::invalid(format!("{} is no path from the root", path.display()))),
            }
        }
        Ok(at)
    }

    fn add(&mut self, directory: &OwnedFd, name: &OsStr, path: &Path, may_be_theirs: bool) -> Result<()> {
        let flags = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.events, place(directory), flags) {
            Ok(number) => self.names.push((number, name.to_owned(), path.to_owned())),
            // One that this user cannot list, such as another's home. What a sandbox has of this user's cannot be in it.
            Err(Errno::ACCESS) if !may_be_theirs => {}
            // A sandbox gave it to a user id of its own, and may go on moving what is in it.
            Err(Errno::ACCESS) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("{} cannot be watched: this user may not list what is above it", path.display()),
                )
                .with_hint("give the directories above it to yourself, or mount another one"));
            }
            Err(errno) => {
                return Err(Error::io(
                    format!("cannot watch what is above {}", path.display()),
                    errno.into(),
                )
                .with_hint("if this user watches too much: sysctl fs.inotify.max_user_watches"));
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Conflict`] when a name that was followed may mean something else by now.
    pub(crate) fn check(&self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.events, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    return Err(Error::io("cannot tell whether a directory was replaced", errno.into()));
                }
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                return Err(Error::new(
                    Kind::Conflict,
                    "too much happened beside the mounted directories to tell whether one was replaced",
                )
                .with_hint("start again"));
            }
            let seen = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let hit = |(number, name, _): &&(i32, OsString, PathBuf)| {
                *number == event.wd() && seen == Some(name.as_os_str())
            };
            if let Some((_, name, path)) = self.names.iter().find(hit) {
                return Err(replaced(path, name));
            }
        }
    }
}

/// Where this process finds what it holds open.
fn place(held: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

fn replaced(path: &Path, name: &OsStr) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "{} was replaced while the sandbox started: there '{}' is another one now",
            path.display(),
            name.display()
        ),
    )
    .with_hint("see what is there now, and start again")
}

/// Opens `name`, on the way to `source`, as a place only.
///
/// # Errors
/// [`Kind::Conflict`] for a link.
pub(crate) fn open(at: impl AsFd, name: &OsStr, source: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(at, name, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(file) => Ok(file),
        Err(Errno::LOOP) => Err(Error::new(
            Kind::Conflict,
            format!("there is a symbolic link in {}, which is not mounted", source.display()),
        )
        .with_hint("name the directory that the link leads to")),
        Err(errno) => Err(Error::io(format!("cannot mount {}", source.display()), errno.into())),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
