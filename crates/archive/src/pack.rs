//! Packing.

use crate::{
    access::Unlocked,
    attributes,
    fault::fault,
    kernel::{self, Facts, Id},
    member::Attribute,
    name::{MAX_DEPTH, Name, shown},
    output::{Entry, Output},
    repack::Form,
    whiteout,
};
use agentkernel_model::{Error, Kind, Result};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Dir, FileType, Mode, OFlags},
    io::Errno,
};
use std::{collections::HashMap, io::Write, vec};
use tar::EntryType;

/// The most bytes of the names of one directory, and of the names of files with further links.
const MAX_NAMES: usize = 64 << 20;

/// Whether directories that other file systems are mounted on are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crossing {
    Enter,
    /// They are packed as empty directories; files that something is mounted on are skipped.
    Stay,
}

#[derive(Debug, Clone, Copy)]
pub struct PackOptions {
    pub crossing: Crossing,
}

/// What was packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    pub bytes: u64,
    pub entries: u64,
    /// Sockets and devices, which no archive of ours holds.
    pub skipped: u64,
}

/// Writes what `source` (a directory; a file opened for reading; or a link opened with `O_PATH | O_NOFOLLOW`) is to
/// `to`, as `name`. Names in a directory come in order, so the same tree makes the same archive.
///
/// # Errors
/// [`Invalid`](agentkernel_model::Kind::Invalid) for what [`unpack`](crate::unpack()) would refuse: trees of more than
/// 256 levels, names of more than 4096 bytes. [`Denied`](agentkernel_model::Kind::Denied) for what the caller may not
/// read. Whatever else cannot be read or written. What vanishes on the way is left out.
pub fn pack(source: BorrowedFd<'_>, name: &str, to: impl Write, options: &PackOptions) -> Result<Packed> {
    let name = Name::parse(name.as_bytes())?;
    let facts = kernel::look(source).map_err(|e| fault(format!("cannot look at {name}"), e))?;
    let mut packing = Packing::new(options.crossing, Form::Files, facts.mount, to);
    let mut path = name.bytes().to_vec();
    match facts.kind {
        FileType::Directory => {
            let fd = kernel::open_directory(source, b".");
            packing.tree(fd.map_err(|e| fault(format!("cannot open {name}"), e))?, &mut path)?;
        }
        FileType::RegularFile => packing.file(source, &path, &facts)?,
        FileType::Symlink => packing.symlink(source, b"", &path, &facts)?,
        FileType::Fifo => packing.plain(EntryType::Fifo, &path, &facts, &[])?,
        _ => packing.packed.skipped += 1,
    }
    packing.end()
}

pub(crate) struct Packing<W: Write> {
    crossing: Crossing,
    form: Form,
    /// The mount that the walk stays on.
    mount: u64,
    output: Output<W>,
    packed: Packed,
    /// Names of files that have further links, and how many bytes they are.
    linked: HashMap<Id, Vec<u8>>,
    names: usize,
}

/// A directory on the way, and what is left to do in it.
struct Level {
    fd: OwnedFd,
    names: vec::IntoIter<Vec<u8>>,
    /// The length of its own path.
    path: usize,
}

impl<W: Write> Packing<W> {
    pub(crate) fn new(crossing: Crossing, form: Form, mount: u64, to: W) -> Self {
        Self {
            crossing,
            form,
            mount,
            output: Output::new(to),
            packed: Packed::default(),
            linked: HashMap::new(),
            names: 0,
        }
    }

    pub(crate) fn end(self) -> Result<Packed> {
        self.output.end()?;
        Ok(self.packed)
    }

    pub(crate) fn tree(&mut self, root: OwnedFd, path: &mut Vec<u8>) -> Result<()> {
        let mut levels: Vec<Level> = self.directory(root, path)?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path);
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if let Some(directory) = self.child(level.fd.as_fd(), &name, path)? {
                if levels.len() >= MAX_DEPTH {
                    return Err(Error::invalid(format!("{} is too deep to be packed", shown(path))));
                }
                let below = self.directory(directory, path)?;
                levels.extend(below);
            }
        }
        Ok(())
    }

    /// Packs the directory itself; what is in it is left to do, unless it is not entered.
    fn directory(&mut self, fd: OwnedFd, path: &[u8]) -> Result<Option<Level>> {
        let failed = |errno| fault(format!("cannot read the directory {}", shown(path)), errno);
        let facts = kernel::look(&fd).map_err(failed)?;
        let attributes = attributes::read(fd.as_fd(), &shown(path), self.form.travelling())?;
        let name = [if path.is_empty() { b"." } else { path }, b"/"].concat();
        self.plain(EntryType::Directory, &name, &facts, &attributes)?;
        if self.form.is_layer() && attributes::is_opaque(fd.as_fd()).map_err(failed)? {
            self.whiteout(&whiteout::opaque(path), &facts)?;
        }
        if self.is_elsewhere(&facts) {
            return Ok(None);
        }
        let names = names(&fd).map_err(failed)?;
        let too_many = || Error::new(Kind::Exhausted, format!("there are too many files in {}", shown(path)));
        Ok(Some(Level { names: names.ok_or_else(too_many)?.into_iter(), path: path.len(), fd }))
    }

    /// Packs what is not a directory; returns what is one.
    fn child(&mut self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Option<OwnedFd>> {
        let cannot = |errno| fault(format!("cannot read {}", shown(path)), errno);
        let Some(facts) = still_there(kernel::look_at(parent, name)).map_err(cannot)? else {
            return Ok(None);
        };
        if facts.kind == FileType::Directory {
            return still_there(kernel::open_directory(parent, name)).map_err(cannot);
        }
        if self.is_elsewhere(&facts) {
            self.packed.skipped += 1;
            return Ok(None);
        }
        match facts.kind {
            FileType::RegularFile => {
                let flags =
                    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
                    Err(Errno::ACCESS) if self.form.unlocks() => {
                        return self.locked(parent, name, path, &facts);
                    }
                    opened => still_there(opened).map_err(cannot)?,
                };
                let Some(fd) = fd else { return Ok(None) };
                let facts = kernel::look(&fd).map_err(cannot)?;
                if facts.kind == FileType::RegularFile {
                    self.file(fd.as_fd(), path, &facts)?;
                }
            }
            FileType::CharacterDevice if self.form.is_layer() && facts.is_whiteout() => {
                self.whiteout(&whiteout::removed(path), &facts)?;
            }
            FileType::Symlink => self.symlink(parent, name, path, &facts)?,
            FileType::Fifo => self.plain(EntryType::Fifo, path, &facts, &[])?,
            _ => self.packed.skipped += 1,
        }
        Ok(None)
    }

    /// Packs a file that its owner may not read.
    fn locked(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        facts: &Facts,
    ) -> Result<Option<OwnedFd>> {
        let cannot = |errno| fault(format!("cannot read {}", shown(path)), errno);
        let Some(file) = still_there(Unlocked::open(parent, name, facts)).map_err(cannot)? else {
            return Ok(None);
        };
        let mode = file.mode();
        let facts = Facts { mode, ..kernel::look(&file).map_err(cannot)? };
        self.file(file.as_fd(), path, &facts)?;
        Ok(None)
    }

    fn file(&mut self, fd: BorrowedFd<'_>, path: &[u8], facts: &Facts) -> Result<()> {
        self.check(path)?;
        if let Some(first) = self.linked.get(&facts.id) {
            let kind = EntryType::Link;
            let facts = &self.form.told(facts);
            let entry = Entry { name: path, kind, link: first, size: 0, facts, attributes: &[] };
            self.packed.entries += 1;
            return self.output.header(&entry);
        }
        let attributes = attributes::read(fd, &shown(path), self.form.travelling())?;
        let (kind, size) = (EntryType::Regular, facts.size);
        let told = &self.form.told(facts);
        self.packed.entries += 1;
        self.output.header(&Entry {
            name: path,
            kind,
            link: b"",
            size,
            facts: told,
            attributes: &attributes,
        })?;
        self.output.content(fd, size, &shown(path))?;
        self.packed.bytes += size;
        // Past the bound, further links are packed as files of their own.
        if facts.links > 1 && self.names + path.len() <= MAX_NAMES {
            self.names += path.len();
            self.linked.insert(facts.id, path.to_vec());
        }
        Ok(())
    }

    fn symlink(&mut self, at: BorrowedFd<'_>, name: &[u8], path: &[u8], facts: &Facts) -> Result<()> {
        self.check(path)?;
        let target = match rustix::fs::readlinkat(at, name, Vec::new()) {
            // Another file by now.
            Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
            other => other.map_err(|e| fault(format!("cannot read the link {}", shown(path)), e))?,
        };
        let (kind, link) = (EntryType::Symlink, target.as_bytes());
        let facts = &self.form.told(facts);
        self.packed.entries += 1;
        self.output.header(&Entry { name: path, kind, link, size: 0, facts, attributes: &[] })
    }

    fn plain(&mut self, kind: EntryType, name: &[u8], facts: &Facts, attributes: &[Attribute]) -> Result<()> {
        self.check(name)?;
        let facts = &self.form.told(facts);
        self.packed.entries += 1;
        self.output.header(&Entry { name, kind, link: b"", size: 0, facts, attributes })
    }

    /// An empty file whose name says that something of the lower layers is not to be seen.
    fn whiteout(&mut self, name: &[u8], facts: &Facts) -> Result<()> {
        Name::parse(name)?;
        let facts = &Facts { mode: 0o600, ..self.form.told(facts) };
        self.packed.entries += 1;
        let kind = EntryType::Regular;
        self.output.header(&Entry { name, kind, link: b"", size: 0, facts, attributes: &[] })
    }

    /// Whether we would unpack such a name.
    fn check(&self, path: &[u8]) -> Result<()> {
        let name = Name::parse(path)?;
        if self.form.is_layer() && whiteout::meaning(&name)? != whiteout::Meaning::Plain {
            return Err(Error::invalid(format!("the layer has a file {name} that would remove another")));
        }
        Ok(())
    }

    fn is_elsewhere(&self, facts: &Facts) -> bool {
        self.crossing == Crossing::Stay && facts.mount != self.mount
    }
}

/// `None` for what is gone, or has become something else, since its name was read.
fn still_there<T>(found: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sorted; `None` when they are too many to be kept.
fn names(fd: &OwnedFd) -> Result<Option<Vec<Vec<u8>>>, Errno> {
    let mut names = Vec::new();
    let mut length = 0;
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        length += name.len();
        if length > MAX_NAMES {
            return Ok(None);
        }
        names.push(name.to_vec());
    }
    names.sort_unstable();
    Ok(Some(names))
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
