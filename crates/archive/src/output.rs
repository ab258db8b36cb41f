//! Writing archives: POSIX headers (pax(1)), extended where a name, a link, a size or an attribute does not fit.

use crate::{
    fault::{fault, writer_fault},
    input::BLOCK,
    kernel::Facts,
    member::Attribute,
    pax,
};
use agentkernel_model::Result;
use rustix::{fd::BorrowedFd, io::Errno};
use std::io::{BufWriter, Write};
use tar::{EntryType, Header};

const BUFFER: usize = 128 * 1024;
/// What the name and the link of a plain header hold.
const SHORT: usize = 100;
/// The first size that eleven octal digits do not hold.
const LARGE: u64 = 1 << 33;

/// What a header tells about a file.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: EntryType,
    /// What a link says, or empty.
    pub(crate) link: &'a [u8],
    pub(crate) size: u64,
    pub(crate) facts: &'a Facts,
    pub(crate) attributes: &'a [Attribute],
}

pub(crate) struct Output<W: Write> {
    to: BufWriter<W>,
    buffer: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to: BufWriter::with_capacity(BUFFER, to), buffer: vec![0; BUFFER] }
    }

    pub(crate) fn header(&mut self, entry: &Entry<'_>) -> Result<()> {
        let records = records(entry);
        if !records.is_empty() {
            let mut header = Header::new_ustar();
            fill(&mut header, b"././@PaxHeader", b"");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(records.len() as u64);
            self.block(&mut header)?;
            self.write(&records)?;
            self.pad(records.len() as u64)?;
        }
        let mut header = Header::new_ustar();
        fill(&mut header, entry.name, entry.link);
        header.set_entry_type(entry.kind);
        header.set_mode(entry.facts.mode);
        header.set_uid(entry.facts.uid.into());
        header.set_gid(entry.facts.gid.into());
        header.set_mtime(entry.facts.modified.try_into().unwrap_or(0));
        header.set_size(entry.size);
        self.block(&mut header)
    }

    /// Exactly `size` bytes of `file`: what it lacks by now is zeros, and what it has gained is left out.
    pub(crate) fn content(&mut self, file: BorrowedFd<'_>, size: u64, name: &str) -> Result<()> {
        let mut at = 0;
        while at < size {
            let most = usize::try_from(size - at).unwrap_or(BUFFER).min(BUFFER);
            let read = match rustix::io::pread(file, &mut self.buffer[..most], at) {
                Ok(0) => {
                    self.buffer[..most].fill(0);
                    most
                }
                Err(Errno::INTR) => continue,
                other => other.map_err(|e| fault(format!("cannot read {name}"), e))?,
            };
            self.to.write_all(&self.buffer[..read]).map_err(writer_fault)?;
            at += read as u64;
        }
        self.pad(size)
    }

    pub(crate) fn end(mut self) -> Result<()> {
        self.write(&[0; 2 * BLOCK])?;
        self.to.flush().map_err(writer_fault)
    }

    fn block(&mut self, header: &mut Header) -> Result<()> {
        header.set_cksum();
        self.to.write_all(header.as_bytes()).map_err(writer_fault)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        self.write(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).map_err(writer_fault)
    }
}

/// As much of the name and the link as fits: the rest stands in the records.
fn fill(header: &mut Header, name: &[u8], link: &[u8]) {
    let old = header.as_old_mut();
    for (field, text) in [(&mut old.name, name), (&mut old.linkname, link)] {
        let text = &text[..text.len().min(SHORT)];
        field[..text.len()].copy_from_slice(text);
    }
}

fn records(entry: &Entry<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.name.len() > SHORT {
        pax::append(&mut records, b"path", entry.name);
    }
    if entry.link.len() > SHORT {
        pax::append(&mut records, b"linkpath", entry.link);
    }
    if entry.size >= LARGE {
        pax::append(&mut records, b"size", entry.size.to_string().as_bytes());
    }
    if entry.facts.modified < 0 {
        pax::append(&mut records, b"mtime", entry.facts.modified.to_string().as_bytes());
    }
    for (name, value) in entry.attributes {
        pax::append(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}
