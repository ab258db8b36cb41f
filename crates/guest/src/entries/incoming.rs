//! New content of a file, which takes the place of the old when it is whole.

use super::{
    Opener,
    place::{self, Place},
};
use agentkernel_model::id::SandboxId;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{AtFlags, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
};

/// Permissions that a file keeps. One that runs as its owner does not once somebody else wrote it.
const PERMISSIONS: u32 = 0o777;

/// Content on its way. What is dropped before [`Incoming::commit`] leaves the old content.
#[derive(Debug)]
pub struct Incoming {
    place: Place,
    file: File,
    /// The name that it has until it is whole; `None` where it is written in place.
    temporary: Option<String>,
    /// The file whose mode and owner it gets.
    old: Option<Stat>,
    mode: u32,
}

impl Incoming {
    /// For the file that `path` leads to; directories on the way are made. `mode` is that of a new file.
    ///
    /// # Errors
    /// `INVAL` and `ISDIR` when what is there is no regular file.
    pub fn begin(open: Opener<'_>, path: &str, mode: u32) -> Result<Self, Errno> {
        place::make_parents(open, path)?;
        let place = Place::behind_links(open, path)?;
        let old = place.look()?;
        let in_place = match &old {
            Some(stat) => Some(writable(&place, stat)?),
            None => None,
        };
        let temporary = format!(".agentkernel-{}", SandboxId::new());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&place.directory, &temporary, flags, Mode::from_raw_mode(0o600));
        let (file, temporary) = match (made, in_place) {
            (Ok(file), _) => (file, Some(temporary)),
            // A file that is mounted in a directory where nothing may be made.
            (Err(Errno::ACCESS | Errno::PERM | Errno::ROFS), Some(Some(file))) => {
                rustix::fs::ftruncate(&file, 0)?;
                (file, None)
            }
            (Err(errno), _) => return Err(errno),
        };
        Ok(Self { place, file: File::from(file), temporary, old, mode: mode & PERMISSIONS })
    }

    /// Where the content goes.
    pub const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// The content is whole.
    ///
    /// # Errors
    /// When it cannot take its place; the old content is then still there, or where it is written in place, may be cut.
    pub fn commit(mut self) -> io::Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let (owner, mode) = match &self.old {
            Some(old) => (*old, old.st_mode & PERMISSIONS),
            None => (rustix::fs::fstat(&self.place.directory)?, self.mode),
        };
        let file: OwnedFd = self.file.as_fd().try_clone_to_owned()?;
        place::give(&file, &owner)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        let directory = &self.place.directory;
        match rustix::fs::renameat(directory, temporary, directory, &self.place.name) {
            Ok(()) => {
                self.temporary = None;
                Ok(())
            }
            // It is itself a mount.
            Err(Errno::BUSY | Errno::XDEV) => self.pour(),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Into the file that is there.
    fn pour(&mut self) -> io::Result<()> {
        let old = self.place.look()?.ok_or(Errno::NOENT)?;
        let mut into = File::from(writable(&self.place, &old)?.ok_or(Errno::TXTBSY)?);
        self.file.seek(SeekFrom::Start(0))?;
        into.set_len(0)?;
        io::copy(&mut self.file, &mut into).map(drop)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = rustix::fs::unlinkat(&self.place.directory, temporary, AtFlags::empty());
        }
    }
}

/// The file that is there, open: who may not write to it may not replace it either. `None` for a program that runs, which
/// can only be replaced.
fn writable(place: &Place, stat: &Stat) -> Result<Option<OwnedFd>, Errno> {
    if !place::is_regular(stat) {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match rustix::fs::openat(&place.directory, &place.name, flags, Mode::empty()) {
        // What was looked at may be another by now.
        Ok(file) if place::is_regular(&rustix::fs::fstat(&file)?) => Ok(Some(file)),
        Ok(_) => Err(Errno::INVAL),
        Err(Errno::TXTBSY) => Ok(None),
        Err(errno) => Err(errno),
    }
}
