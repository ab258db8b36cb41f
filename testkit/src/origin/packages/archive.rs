//! Small archives in memory: tar with gzip, and zip without compression.

use flate2::{Compression, Crc, write::GzEncoder};
use std::io;

pub(super) fn tar_gz(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, text.as_bytes())?;
    }
    builder.into_inner()?.finish()
}

/// Version 2.0 of the format, as every reader takes it.
pub(super) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    const LOCAL: u32 = 0x0403_4b50;
    const CENTRAL: u32 = 0x0201_4b50;
    const END: u32 = 0x0605_4b50;
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let offset = short(out.len());
        let mut crc = Crc::new();
        crc.update(text.as_bytes());
        // Version 2.0, no flags, stored, the first of January 1980.
        let mut common = Vec::new();
        for word in [20u16, 0, 0, 0, 33] {
            common.extend(word.to_le_bytes());
        }
        for long in [crc.sum(), short(text.len()), short(text.len())] {
            common.extend(long.to_le_bytes());
        }
        common.extend(u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
        common.extend([0; 2]);
        out.extend(LOCAL.to_le_bytes());
        out.extend(&common);
        out.extend(path.as_bytes());
        out.extend(text.as_bytes());
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(&common);
        // No comment, disk 0, no attributes.
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let (start, length) = (short(out.len()), short(directory.len()));
    let count = u16::try_from(files.len()).unwrap_or(u16::MAX);
    out.extend(directory);
    out.extend(END.to_le_bytes());
    out.extend([0; 4]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// A length of what tests write.
fn short(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
