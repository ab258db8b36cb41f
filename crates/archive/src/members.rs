//! The entries of an archive, one after the other, with extended headers resolved.

use crate::{
    fault::truncated,
    input::{BLOCK, Input},
    member::{Checked, Member, Overrides, padding},
};
use agentkernel_model::{Error, Result};
use std::io::Read;

/// The most bytes of all extended headers before one entry.
const MAX_EXTENDED: u64 = 1 << 20;
/// The most bytes that global headers may leave for all entries.
const MAX_GLOBAL: usize = 64 * 1024;

pub(crate) struct Members<R> {
    input: Input<R>,
    global: Overrides,
    /// Content of the last entry that nobody read yet, and what fills its last block.
    content: u64,
    padding: u64,
}

impl<R: Read> Members<R> {
    /// `bytes` bounds what the archive may hold beside files.
    pub(crate) fn new(archive: R, bytes: u64) -> Self {
        Self { input: Input::new(archive, bytes), global: Overrides::default(), content: 0, padding: 0 }
    }

    /// The next entry; `None` at the end, when everything has been read.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        self.input.skip(self.content)?;
        self.input.skip(self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut extended = Extended { local: None, left: MAX_EXTENDED };
        loop {
            let block = self.input.block()?.ok_or_else(truncated)?;
            if block.iter().all(|b| *b == 0) {
                return if extended.left == MAX_EXTENDED { self.end() } else { Err(truncated()) };
            }
            let header = Checked::new(&block)?;
            if matches!(header.kind(), b'L' | b'K' | b'x' | b'g') {
                self.extend(&header, &mut extended)?;
                continue;
            }
            let member = header.member(extended.local.unwrap_or_else(|| self.global.clone()))?;
            (self.content, self.padding) = (member.size, padding(member.size)?);
            return Ok(Some(member));
        }
    }

    /// Gives the content of the last entry to `sink`.
    pub(crate) fn content(&mut self, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.input.pass(std::mem::take(&mut self.content), sink)
    }

    fn extend(&mut self, header: &Checked<'_>, extended: &mut Extended) -> Result<()> {
        let size = header.size()?;
        // An empty one costs its block.
        let cost = size.saturating_add(BLOCK as u64);
        let too_long =
            || Error::invalid("the archive has extended headers of more than 1 MiB before an entry");
        extended.left = extended.left.checked_sub(cost).ok_or_else(too_long)?;
        let data = self.input.bytes(size)?;
        self.input.skip(padding(size)?)?;
        if header.kind() == b'g' {
            self.global.pax(&data)?;
            if self.global.length() > MAX_GLOBAL {
                return Err(Error::invalid("the archive has global headers of more than 64 KiB"));
            }
            return Ok(());
        }
        let local = extended.local.get_or_insert_with(|| self.global.clone());
        match header.kind() {
            b'x' => local.pax(&data),
            kind => {
                local.gnu(kind, &data);
                Ok(())
            }
        }
    }

    /// Two empty blocks end an archive; one and nothing more is what some programs write.
    fn end(&mut self) -> Result<Option<Member>> {
        match self.input.block()? {
            Some(block) if block.iter().any(|b| *b != 0) => {
                Err(Error::invalid("the archive goes on after an empty block"))
            }
            _ => self.input.drain().map(|()| None),
        }
    }
}

/// The extended headers before one entry.
struct Extended {
    local: Option<Overrides>,
    /// How many bytes more there may be.
    left: u64,
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
