//! A layer as an archive on disk, in a file that has no name and so is gone with its owner.

use agentkernel_archive::{LayerOwners, pack_layer};
use agentkernel_model::{Error, Result, image::Digest, text::printable};
use rustix::fd::AsFd as _;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

#[derive(Debug)]
pub(super) struct PackedLayer {
    file: File,
    size: u64,
    digest: Digest,
}

impl PackedLayer {
    /// Packs the unpacked layer at `path`; the file is made in `scratch`.
    pub(super) fn of(path: &Path, owners: LayerOwners, scratch: &Path) -> Result<Self> {
        let layer = File::open(path).map_err(|e| {
            Error::io(format!("cannot open the layer '{}'", printable(&path.display().to_string())), e)
        })?;
        let mut to = Hashed::new(scratch)?;
        pack_layer(layer.as_fd(), &mut to, owners)?;
        Ok(to.end())
    }

    pub(super) fn from_bytes(archive: &[u8], scratch: &Path) -> Result<Self> {
        let mut to = Hashed::new(scratch)?;
        to.write_all(archive)
            .map_err(|e| e.downcast::<Error>().unwrap_or_else(|e| Error::io("cannot write a layer", e)))?;
        Ok(to.end())
    }

    /// The digest of the archive: what an image's configuration calls the layer.
    pub(super) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }
}

/// A file, and the digest of what is written to it.
struct Hashed {
    file: File,
    /// Where it is, for messages.
    place: String,
    size: u64,
    hash: Sha256,
}

impl Hashed {
    fn new(scratch: &Path) -> Result<Self> {
        let place = printable(&scratch.display().to_string());
        let file = tempfile::tempfile_in(scratch)
            .map_err(|e| Error::io(format!("cannot make a file in '{place}'"), e))?;
        Ok(Self { file, place, size: 0, hash: Sha256::new() })
    }

    fn end(self) -> PackedLayer {
        let digest = Digest::of_sha256(&self.hash.finalize().into());
        PackedLayer { file: self.file, size: self.size, digest }
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::Interrupted => e,
            _ => io::Error::other(Error::io(format!("cannot pack a layer in '{}'", self.place), e)),
        })?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
