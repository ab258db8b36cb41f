//! The bytes of an archive, counted as they are read.

use crate::fault::{reader_fault, truncated};
use agentkernel_model::{Error, Result};
use std::io::{self, BufRead as _, BufReader, Read};

pub(crate) const BLOCK: usize = 512;
const BUFFER: usize = 128 * 1024;
/// Bytes that no archive should be refused for: padding to whatever a tape had.
const PADDING: u64 = 16 << 20;

/// Reads blocks, and what comes after them.
pub(crate) struct Input<R> {
    reader: BufReader<R>,
    /// How many bytes that make nothing may still come: extended headers, skipped content, and what is after the end.
    spare: u64,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(reader: R, bytes: u64) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, reader), spare: bytes.saturating_add(PADDING) }
    }

    /// The next block; `None` when the input ends before it.
    pub(crate) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.buffered()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.reader.read_exact(&mut block).map_err(reader_fault)?;
        Ok(Some(block))
    }

    /// `length` bytes, kept. The caller bounds `length`.
    pub(crate) fn bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.spend(length)?;
        self.pass(length, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Passes over `length` bytes.
    pub(crate) fn skip(&mut self, length: u64) -> Result<()> {
        self.spend(length)?;
        self.pass(length, |_| Ok(()))
    }

    /// Gives `length` bytes to `sink`, as they come.
    pub(crate) fn pass(&mut self, length: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = length;
        while left > 0 {
            let chunk = self.buffered()?;
            if chunk.is_empty() {
                return Err(truncated());
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            sink(&chunk[..most])?;
            self.reader.consume(most);
            left -= u64::try_from(most).unwrap_or(left);
        }
        Ok(())
    }

    /// Reads all that is left, so that whoever computes a digest has seen everything.
    pub(crate) fn drain(&mut self) -> Result<()> {
        loop {
            let length = self.buffered()?.len();
            if length == 0 {
                return Ok(());
            }
            self.spend(u64::try_from(length).unwrap_or(u64::MAX))?;
            self.reader.consume(length);
        }
    }

    pub(crate) fn spend(&mut self, length: u64) -> Result<()> {
        let too_much = || Error::invalid("the archive holds too much besides its files");
        self.spare = self.spare.checked_sub(length).ok_or_else(too_much)?;
        Ok(())
    }

    /// Empty at the end of the input.
    fn buffered(&mut self) -> Result<&[u8]> {
        while let Err(error) = self.reader.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(reader_fault(error));
            }
        }
        Ok(self.reader.buffer())
    }
}
