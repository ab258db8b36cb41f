//! Files in which long runs of zeros are holes: what was sparse before it was packed is so again, and takes no disk.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
};

/// A run of zeros that is at least so long is not written.
const BLOCK: usize = 4096;

/// A new file that is written from its beginning to its end.
pub(crate) struct Holey {
    file: File,
    /// Zeros that have not been written.
    skipped: u64,
}

impl Holey {
    pub(crate) const fn new(file: File) -> Self {
        Self { file, skipped: 0 }
    }

    pub(crate) fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let zeros = rest.chunks_exact(BLOCK).take_while(|block| is_zero(block)).count() * BLOCK;
            self.skipped += zeros as u64;
            rest = &rest[zeros..];
            // The last block may be short, and is written whatever it is.
            let others = rest.chunks(BLOCK).take_while(|block| block.len() < BLOCK || !is_zero(block));
            let written = others.map(<[u8]>::len).sum();
            if written > 0 {
                self.skip()?;
                self.file.write_all(&rest[..written])?;
                rest = &rest[written..];
            }
        }
        Ok(())
    }

    /// The file, as long as it should be.
    pub(crate) fn end(mut self) -> io::Result<File> {
        if self.skipped > 0 {
            self.skip()?;
            let length = self.file.stream_position()?;
            self.file.set_len(length)?;
        }
        Ok(self.file)
    }

    fn skip(&mut self) -> io::Result<()> {
        if self.skipped > 0 {
            // No file is longer than its offsets can say, and the archive was bounded before.
            self.file.seek(SeekFrom::Current(i64::try_from(self.skipped).map_err(io::Error::other)?))?;
            self.skipped = 0;
        }
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[path = "holey_tests.rs"]
mod tests;
