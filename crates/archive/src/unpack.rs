//! Unpacking.

use crate::{
    attributes,
    directories::{Directories, Late, times},
    fault::{fault, writer_fault},
    holey::Holey,
    kernel,
    member::{Member, What},
    members::Members,
    name::Name,
    tally::{Bounds, Tally, Unpacked},
    tree::{Before, Tree},
    whiteout::{self, Meaning},
};
use agentkernel_model::{Error, Result};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read},
};

/// Whom unpacked files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Whom the archive names by number; ids above 65535 become 65534. For root.
    Archive,
    /// As [`Archive`](Self::Archive), without set-user-ID and set-group-ID bits and capabilities: where the files are
    /// seen elsewhere with the same owners.
    ArchivePlain,
    /// The caller; set-user-ID and set-group-ID bits are dropped.
    Caller,
}

/// What names that begin with `.wh.` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Those of an image layer (OCI image-spec, layer.md): they become what overlayfs with `userxattr` reads. The
    /// directory that is unpacked into is the layer's own root, and gets the owner and mode that the layer has for it.
    Overlay,
    /// Ordinary files. The directory that is unpacked into keeps its owner, mode and time.
    Plain,
}

/// What happens to what stands where an entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// A directory stays where a directory comes; all else is replaced.
    Replace,
    /// As [`Existing::Replace`], but a directory that holds anything is never removed for something else: an error.
    Merge,
    /// An error, unless a directory meets a directory.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
pub struct UnpackOptions {
    pub bounds: Bounds,
    pub ownership: Ownership,
    pub whiteouts: Whiteouts,
    pub existing: Existing,
}

/// Unpacks `archive`, uncompressed, into the directory `into`. Reads `archive` to its end. Others may write below `into`
/// meanwhile: what is made may then be theirs, but nothing is made, changed or followed outside.
///
/// # Errors
/// [`Invalid`](agentkernel_model::Kind::Invalid) for what is no tar archive or not all of one, for names that lead
/// outside, and beyond `options.bounds`; [`AlreadyExists`](agentkernel_model::Kind::AlreadyExists) with
/// [`Existing::Refuse`]; [`Denied`](agentkernel_model::Kind::Denied) where the caller may not write;
/// [`Exhausted`](agentkernel_model::Kind::Exhausted) when the disk is full. An [`agentkernel_model::Error`] inside the
/// error of the reader is returned as it is. What was made before stays.
pub fn unpack(archive: impl Read, into: BorrowedFd<'_>, options: &UnpackOptions) -> Result<Unpacked> {
    let mut unpacking = Unpacking {
        options: *options,
        tree: Tree::new(into, options.ownership, options.existing)?,
        tally: Tally::new(options.bounds),
        directories: Directories::default(),
    };
    let mut members = Members::new(archive, options.bounds.bytes);
    while let Some(member) = members.next()? {
        unpacking.entry(&member, &mut members)?;
    }
    unpacking.directories.finish(&mut unpacking.tree)?;
    Ok(unpacking.tally.made())
}

struct Unpacking<'a> {
    options: UnpackOptions,
    tree: Tree<'a>,
    tally: Tally,
    directories: Directories,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, member: &Member, members: &mut Members<R>) -> Result<()> {
        self.tally.entry()?;
        let name = &member.name;
        if self.options.whiteouts == Whiteouts::Overlay {
            match whiteout::meaning(name)? {
                Meaning::Plain => {}
                Meaning::Removed(name) => return self.whiteout(&name),
                Meaning::Opaque => return self.opaque(name),
                Meaning::Skip => return Ok(()),
            }
        }
        match &member.what {
            What::File => self.file(member, members),
            What::Directory => self.directory(member),
            What::Symlink(target) => self.symlink(member, target),
            What::HardLink(target) => self.hard_link(name, target),
            What::Fifo => self.fifo(member),
            What::Device => {
                self.tally.device();
                Ok(())
            }
        }
    }

    fn file<R: Read>(&mut self, member: &Member, members: &mut Members<R>) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.tree.place(&member.name, &mut self.tally, |parent, last| {
            rustix::fs::openat(parent, last, flags, kernel::mode(0o600))
        })?;
        let mut file = Holey::new(File::from(fd));
        members.content(|chunk| {
            self.tally.bytes(chunk.len())?;
            file.write(chunk).map_err(|e| cannot_write(&member.name, &e))
        })?;
        let file = file.end().map_err(|e| cannot_write(&member.name, &e))?;
        self.finish(&OwnedFd::from(file), member)
    }

    fn directory(&mut self, member: &Member) -> Result<()> {
        let name = &member.name;
        let (fd, before) = if name.split().is_some() {
            self.tree.directory(name, &mut self.tally)?
        } else if self.options.whiteouts == Whiteouts::Overlay {
            (self.open_root()?, Before::Directory)
        } else {
            return Ok(());
        };
        let late =
            self.fill(&fd, member).map_err(|e| fault(format!("cannot set up the directory {name}"), e))?;
        // What is below a whiteout of this very layer stays hidden when a directory takes its place.
        if before == Before::Whiteout && self.options.whiteouts == Whiteouts::Overlay {
            make_opaque(&fd).map_err(|e| fault(format!("cannot make {name} opaque"), e))?;
        }
        self.directories.note(name, late)
    }

    /// Gives a directory its owner and attributes, and makes sure that it can be filled until it has its mode.
    fn fill(&self, fd: &OwnedFd, member: &Member) -> Result<Late, Errno> {
        let facts = kernel::look(fd)?;
        self.own(fd, member)?;
        if facts.mode & 0o700 != 0o700 {
            rustix::fs::fchmod(fd, kernel::mode(facts.mode | 0o700))?;
        }
        attributes::set(fd, &member.attributes, self.options.ownership)?;
        Ok(Late { mode: self.mode(member), modified: member.modified, id: facts.id })
    }

    fn symlink(&mut self, member: &Member, target: &[u8]) -> Result<()> {
        let owner = self.owner(member);
        self.tree.place(&member.name, &mut self.tally, |parent, last| {
            rustix::fs::symlinkat(target, parent, last)?;
            if let Some((uid, gid)) = owner {
                rustix::fs::chownat(parent, last, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            rustix::fs::utimensat(parent, last, &times(member.modified), AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    fn hard_link(&mut self, name: &Name, target: &Name) -> Result<()> {
        let missing = || Error::invalid(format!("the archive links {name} to {target}, which is not there"));
        let (parent, last) = target.split().ok_or_else(missing)?;
        // What is in the way of the link would be removed with its target.
        let in_the_way = target.bytes().strip_prefix(name.bytes()).is_some_and(|rest| rest.starts_with(b"/"));
        let facts = self.tree.look(target)?.filter(|_| !in_the_way).ok_or_else(missing)?;
        if facts.kind == FileType::Directory {
            return Err(Error::invalid(format!(
                "the archive links {name} to {target}, which is a directory"
            )));
        }
        if self.tree.look(name)?.is_some_and(|there| there.id == facts.id) {
            return Ok(());
        }
        let from = self.tree.find(parent).and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 0));
        let from = from.map_err(|e| fault(format!("cannot open the directory of {target}"), e))?;
        self.tree.place(name, &mut self.tally, |parent, new| {
            rustix::fs::linkat(&from, last, parent, new, AtFlags::empty())
        })
    }

    fn fifo(&mut self, member: &Member) -> Result<()> {
        self.tree.place(&member.name, &mut self.tally, kernel::fifo)?;
        // The umask takes bits away from what mknod makes. Nobody else is at its other end, so nothing blocks.
        let (parent, last) = member.name.split().unwrap_or_default();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.tree.find(parent).and_then(|at| rustix::fs::openat(at, last, flags, Mode::empty()));
        let fd = fd.map_err(|e| fault(format!("cannot open {}", member.name), e))?;
        if kernel::look(&fd).is_ok_and(|facts| facts.kind != FileType::Fifo) {
            return Ok(());
        }
        self.finish(&fd, member)
    }

    fn whiteout(&mut self, name: &Name) -> Result<()> {
        self.tree.place(name, &mut self.tally, kernel::whiteout)
    }

    fn opaque(&mut self, name: &Name) -> Result<()> {
        let (parent, _) = name.split().unwrap_or_default();
        let fd = match Name::parse(parent)? {
            root if root.split().is_none() => self.open_root()?,
            directory => self.tree.filled(&directory, &mut self.tally)?,
        };
        make_opaque(&fd).map_err(|e| fault(format!("cannot make the directory of {name} opaque"), e))
    }

    fn open_root(&mut self) -> Result<OwnedFd> {
        let root = self.tree.find(b"").and_then(|root| kernel::open_directory(root, b"."));
        root.map_err(|e| fault("cannot open the directory to unpack into", e))
    }

    /// Owner, attributes, mode and time, in the order in which one does not undo the other.
    fn finish(&self, fd: &OwnedFd, member: &Member) -> Result<()> {
        let finish = || {
            self.own(fd, member)?;
            attributes::set(fd, &member.attributes, self.options.ownership)?;
            rustix::fs::fchmod(fd, kernel::mode(self.mode(member)))?;
            rustix::fs::futimens(fd, &times(member.modified))
        };
        finish().map_err(|e| fault(format!("cannot finish {}", member.name), e))
    }

    fn own(&self, fd: impl AsFd, member: &Member) -> Result<(), Errno> {
        match self.owner(member) {
            Some((uid, gid)) => rustix::fs::fchown(fd, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    fn owner(&self, member: &Member) -> Option<(Uid, Gid)> {
        const NOBODY: u32 = 65534;
        let id = |id: u64| u16::try_from(id).map_or(NOBODY, u32::from);
        match self.options.ownership {
            Ownership::Archive | Ownership::ArchivePlain => {
                Some((Uid::from_raw(id(member.uid)), Gid::from_raw(id(member.gid))))
            }
            Ownership::Caller => None,
        }
    }

    fn mode(&self, member: &Member) -> u32 {
        match self.options.ownership {
            Ownership::Archive => member.mode & 0o7777,
            Ownership::ArchivePlain | Ownership::Caller => member.mode & 0o1777,
        }
    }
}

fn make_opaque(fd: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(fd, attributes::OPAQUE, b"y", XattrFlags::empty())
}

fn cannot_write(name: &Name, error: &io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => fault(format!("cannot write {name}"), errno),
        None => writer_fault(io::Error::other(format!("cannot write {name}: {error}"))),
    }
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
#[cfg(test)]
#[path = "layer_tests.rs"]
mod layer_tests;
#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
