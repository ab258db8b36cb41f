//! One layer of an image: a tar archive, compressed while it is written.

use agentkernel_model::{Error, Result, image::Digest};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::Command,
};
use tar::{Builder, EntryType, Header};

/// The time of everything in an image, so that the same content has the same digest: 2024-01-01.
const MTIME: u64 = 1_704_067_200;

/// A finished layer in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub(super) path: PathBuf,
    /// Of the compressed bytes.
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Of the archive itself.
    pub(super) diff_id: Digest,
    pub(super) unpacked: u64,
}

impl Layer {
    /// Bytes as they are transferred.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the archive itself.
    #[must_use]
    pub const fn unpacked(&self) -> u64 {
        self.unpacked
    }

    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    #[must_use]
    pub const fn diff_id(&self) -> &Digest {
        &self.diff_id
    }
}

/// Mode and owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
}

impl Attributes {
    pub(super) const fn of_root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }
}

/// Compresses what is written to it, and hashes what comes out.
type Compressed = GzEncoder<Hashing<BufWriter<File>>>;

/// Writes a layer. Paths are relative to the image's root; parents that were not written are made for root, 0755.
pub struct LayerWriter {
    archive: Builder<Even<Hashing<Compressed>>>,
    path: PathBuf,
    directories: BTreeSet<String>,
    others: BTreeSet<String>,
}

impl std::fmt::Debug for LayerWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LayerWriter {
    /// A layer in the new file `path`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).map_err(|e| failed("make", &path, e))?;
        let compressed = Hashing::new(BufWriter::with_capacity(1 << 20, file));
        // Fast: these bytes cross a loopback, not an ocean.
        let encoder = GzEncoder::new(compressed, Compression::fast());
        Ok(Self {
            archive: Builder::new(Even::new(Hashing::new(encoder))),
            path,
            directories: BTreeSet::new(),
            others: BTreeSet::new(),
        })
    }

    /// A directory of root's. One that is there already keeps its mode.
    ///
    /// # Errors
    /// When the disk is full, as for all that follow.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<()> {
        self.directory_as(path, Attributes::of_root(mode))
    }

    pub(super) fn directory_as(&mut self, path: &str, attributes: Attributes) -> Result<()> {
        if self.directories.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.directories.insert(path.to_owned());
        let name = format!("{path}/");
        self.append(&name, EntryType::Directory, attributes, 0, io::empty())
    }

    /// A file of root's.
    ///
    /// # Errors
    /// When something stands at `path` already.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        self.file_as(path, Attributes::of_root(mode), size, content)
    }

    pub(super) fn file_as(
        &mut self,
        path: &str,
        attributes: Attributes,
        size: u64,
        content: impl Read,
    ) -> Result<()> {
        self.claim(path)?;
        self.append(path, EntryType::Regular, attributes, size, content)
    }

    /// A symbolic link at `path` that says `target`.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.link(path, target, EntryType::Symlink)
    }

    /// This machine's busybox at `bin/busybox`, and beside it a link for each of its other names.
    ///
    /// # Errors
    /// When it is not there, or as [`Self::file`].
    pub fn busybox(&mut self) -> Result<()> {
        let program = Path::new("/bin/busybox");
        let content = fs::read(program).map_err(|e| failed("read", program, e))?;
        self.file("bin/busybox", 0o755, &content)?;
        let listed = Command::new(program).arg("--list").output().map_err(|e| failed("run", program, e))?;
        for name in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
            self.symlink(&format!("bin/{name}"), "busybox")?;
        }
        Ok(())
    }

    /// A character device, as no honest image has one.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> Result<()> {
        self.claim(path)?;
        let mut header = header(EntryType::Char, Attributes::of_root(mode), 0);
        let numbered = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
        let written = numbered.and_then(|()| self.archive.append_data(&mut header, path, io::empty()));
        written.map_err(|e| failed("write", &self.path, e))
    }

    /// One more name for the file `target` of this layer.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn hard_link(&mut self, path: &str, target: &str) -> Result<()> {
        self.link(path, target, EntryType::Link)
    }

    fn link(&mut self, path: &str, target: &str, kind: EntryType) -> Result<()> {
        self.claim(path)?;
        let mut header = header(kind, Attributes::of_root(0o777), 0);
        self.archive.append_link(&mut header, path, target).map_err(|e| failed("write", &self.path, e))
    }

    /// Takes away what lower layers have at `path`.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn whiteout(&mut self, path: &str) -> Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mark = if parent.is_empty() { format!(".wh.{name}") } else { format!("{parent}/.wh.{name}") };
        self.file(&mark, 0o644, b"")
    }

    /// Whether this layer has something at `path`.
    pub(super) fn has(&self, path: &str) -> bool {
        self.directories.contains(path) || self.others.contains(path)
    }

    /// Nothing but a directory may be written twice: two packages with one file are a mistake of the recipe.
    fn claim(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        if self.directories.contains(path) || !self.others.insert(path.to_owned()) {
            return Err(Error::invalid(format!(
                "'/{path}' comes twice in the layer '{}'",
                self.path.display()
            )));
        }
        Ok(())
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.directory(parent, 0o755),
            None => Ok(()),
        }
    }

    fn append(
        &mut self,
        path: &str,
        kind: EntryType,
        attributes: Attributes,
        size: u64,
        content: impl Read,
    ) -> Result<()> {
        let mut header = header(kind, attributes, size);
        self.archive.append_data(&mut header, path, content).map_err(|e| failed("write", &self.path, e))
    }

    /// Ends the archive and closes the file.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> Result<Layer> {
        let done = || -> io::Result<_> {
            let (unpacked, diff_id, encoder) = self.archive.into_inner()?.finish()?.finish();
            let (size, digest, mut file) = encoder.finish()?.finish();
            file.flush()?;
            Ok((unpacked, diff_id, size, digest))
        };
        let (unpacked, diff_id, size, digest) = done().map_err(|e| failed("write", &self.path, e))?;
        Ok(Layer { path: self.path, digest, size, diff_id, unpacked })
    }
}

fn header(kind: EntryType, attributes: Attributes, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(attributes.mode);
    header.set_uid(attributes.uid);
    header.set_gid(attributes.gid);
    header.set_size(size);
    header.set_mtime(MTIME);
    header
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {what} the layer '{}'", path.display()), error)
}

/// Counts and hashes what passes through.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (u64, Digest, W) {
        (self.bytes, Digest::of_sha256(&self.hash.finalize().into()), self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes = self.bytes.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Passes on pieces of one size. What deflate makes depends on how its input is cut, and a pipe cuts as it likes.
struct Even<W> {
    inner: W,
    piece: Vec<u8>,
}

const PIECE: usize = 1 << 17;

impl<W: Write> Even<W> {
    fn new(inner: W) -> Self {
        Self { inner, piece: Vec::with_capacity(PIECE) }
    }

    fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.piece)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Even<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.inner.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(taken)
    }

    /// Only [`Self::finish`] passes on what is less than a piece.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
