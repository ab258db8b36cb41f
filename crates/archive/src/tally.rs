//! What an archive made so far, and how much it may make.

use agentkernel_model::{Error, Result};

/// How much an archive may make.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, directories, links, whiteouts, what is skipped, and directories that no entry names.
    pub entries: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    pub bytes: u64,
    pub entries: u64,
    /// Device nodes, which are never made.
    pub devices_skipped: u64,
}

#[derive(Debug)]
pub(crate) struct Tally {
    bounds: Bounds,
    made: Unpacked,
}

impl Tally {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, made: Unpacked::default() }
    }

    /// One more entry is about to be made.
    pub(crate) fn entry(&mut self) -> Result<()> {
        if self.made.entries >= self.bounds.entries {
            return Err(Error::invalid(format!("the archive has more than {} entries", self.bounds.entries)));
        }
        self.made.entries += 1;
        Ok(())
    }

    /// `length` more bytes are about to be written.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<()> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if length > self.bounds.bytes - self.made.bytes {
            return Err(Error::invalid(format!("the archive holds more than {} bytes", self.bounds.bytes)));
        }
        self.made.bytes += length;
        Ok(())
    }

    pub(crate) fn device(&mut self) {
        self.made.devices_skipped += 1;
    }

    pub(crate) fn made(&self) -> Unpacked {
        self.made
    }
}
