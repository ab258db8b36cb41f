//! Archives made by hand, for the tests of this crate.

use crate::{Bounds, Existing, Ownership, UnpackOptions, Unpacked, Whiteouts, pax, unpack};
use agentkernel_model::Result;
use rustix::fd::AsFd as _;
use std::{fs::File, path::Path};
use tar::Header;

#[derive(Debug, Default, Clone)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

impl Archive {
    /// A header as it is given, and `content` after it.
    pub(crate) fn raw(mut self, header: &mut Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, kind: u8, name: &str, link: &str, content: &[u8]) -> Self {
        self.raw(&mut header(kind, name, link, content.len() as u64), content)
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, "", content.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, b"")
    }

    pub(crate) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            pax::append(&mut data, key.as_bytes(), value);
        }
        self.entry(kind, "PaxHeader", "", &data)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(crate) fn header(kind: u8, name: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    old.linkflag = [kind];
    header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(size);
    header
}

/// Files of the caller, whiteouts that mean nothing, whatever is there replaced, within generous bounds.
pub(crate) fn plain() -> UnpackOptions {
    UnpackOptions {
        bounds: Bounds { bytes: 1 << 20, entries: 10_000 },
        ownership: Ownership::Caller,
        whiteouts: Whiteouts::Plain,
        existing: Existing::Replace,
    }
}

pub(crate) fn unpack_to(into: &Path, archive: &[u8], options: &UnpackOptions) -> Result<Unpacked> {
    unpack(archive, File::open(into).unwrap().as_fd(), options)
}

/// Every name below `root`, sorted, no link followed.
pub(crate) fn names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(root).unwrap().display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    names.sort();
    names
}
