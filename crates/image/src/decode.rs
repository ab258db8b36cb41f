//! From the bytes of a layer as they are distributed to its tar archive: decompressed, counted, hashed and bounded.

use crate::{digest, halt::Halt};
use agentkernel_model::{Error, Result, image::Digest, text::printable};
use sha2::{Digest as _, Sha256};
use std::{
    cell::Cell,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    os::unix::fs::FileExt as _,
    rc::Rc,
};

/// How much may come of compressed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes, whatever they come of.
    pub(crate) most: u64,
    /// So many may come of anything.
    pub(crate) unsuspicious: u64,
    /// Beyond that, so many times what they come of.
    pub(crate) ratio: u64,
    /// After so many, what looks like a bomb is looked at as a whole before more of it reaches the disk.
    pub(crate) early: u64,
}

/// Those of one layer or archive. Real ones are compressed to a tenth; gzip can do a thousandth, for nothing that anybody
/// needs.
pub(crate) const LIMITS: Limits =
    Limits { most: 64 << 30, unsuspicious: 1 << 30, ratio: 200, early: 64 << 20 };

/// Windows of zstd up to 128 MiB, as zstd(1) reads without being asked.
const MAX_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 256 << 10;

impl Limits {
    /// How many bytes may come of `compressed` ones.
    pub(crate) fn of(&self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.ratio).clamp(self.unsuspicious, self.most)
    }
}

/// A file, read from its beginning without moving the place where others read it.
struct At<'a> {
    file: &'a File,
    offset: Rc<Cell<u64>>,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset.get())?;
        self.offset.set(self.offset.get() + read as u64);
        Ok(read)
    }
}

/// Reads what is in `source`, which is compressed by gzip or zstd or not at all.
fn decompress<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    Ok(match source.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        // A frame, or a skippable one before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => Box::new(source),
    })
}

/// The content of a layer, on its way to the unpacker. Why it ends early is an [`Error`] inside the error of reading.
pub(crate) struct Content<'a> {
    inner: Box<dyn Read + 'a>,
    source: &'a File,
    /// Bytes of `source` that were read.
    consumed: Rc<Cell<u64>>,
    what: &'a str,
    hash: Sha256,
    bytes: u64,
    limits: Limits,
    limit: u64,
    suspicion: Suspicion,
    halt: &'a Halt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    Open,
    /// All of it was decompressed once, to nowhere.
    Cleared,
}

impl<'a> Content<'a> {
    /// Of `source`, which messages call `what` and which has `size` bytes.
    pub(crate) fn new(
        source: &'a File,
        what: &'a str,
        size: u64,
        limits: Limits,
        halt: &'a Halt,
    ) -> Result<Self> {
        let consumed = Rc::new(Cell::new(0));
        let at = At { file: source, offset: Rc::clone(&consumed) };
        let inner = decompress(at).map_err(|e| broken(what, e))?;
        let (hash, limit) = (Sha256::new(), limits.of(size));
        let suspicion = Suspicion::Open;
        Ok(Self { inner, source, consumed, what, hash, bytes: 0, limits, limit, suspicion, halt })
    }

    /// Reads the rest, and returns the digest of all.
    pub(crate) fn finish(mut self) -> Result<Digest> {
        io::copy(&mut self, &mut io::sink()).map_err(|e| broken(self.what, e))?;
        Ok(digest::finished(&self.hash))
    }

    fn looks_bad(&self) -> bool {
        self.suspicion == Suspicion::Open
            && self.bytes > self.limits.early
            && self.bytes > self.consumed.get().saturating_mul(self.limits.ratio)
    }

    /// Decompresses all of it to nowhere, so that a bomb is found before it is on the disk.
    fn rehearse(&mut self) -> Result<()> {
        let at = At { file: self.source, offset: Rc::default() };
        let mut whole = decompress(at).map_err(|e| broken(self.what, e))?;
        let mut buffer = vec![0; BUFFER];
        let mut bytes = 0_u64;
        loop {
            if self.halt.is_called() {
                return Err(Halt::error());
            }
            match whole.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => bytes += read as u64,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(self.what, e)),
            }
            if bytes > self.limit {
                return Err(self.too_long());
            }
        }
        self.suspicion = Suspicion::Cleared;
        Ok(())
    }

    fn too_long(&self) -> Error {
        let (most, unsuspicious) = (self.limits.most >> 30, self.limits.unsuspicious >> 30);
        Error::invalid(format!(
            "{} unpacks to far more than it is: to more than {most} GiB, or beyond {unsuspicious} GiB to more than {} times its size",
            self.what, self.limits.ratio
        ))
        .with_hint("such archives are made to fill disks; nothing of it was kept")
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.halt.is_called() {
            return Err(io::Error::other(Halt::error()));
        }
        let read = match self.inner.read(buffer) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                return Err(io::Error::other(broken(self.what, e)));
            }
            read => read?,
        };
        self.bytes += read as u64;
        if self.bytes > self.limit {
            return Err(io::Error::other(self.too_long()));
        }
        if self.looks_bad() {
            self.rehearse().map_err(io::Error::other)?;
        }
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What went wrong with reading `what`. Decoders' own complaints have no number, those of the system have.
pub(crate) fn broken(what: &str, error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return Error::io(format!("cannot read {what}"), error);
    }
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(e) => Error::invalid(format!("{what} cannot be decompressed: {}", printable(&e.to_string()))),
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
