//! Digests of what we read.

use agentkernel_model::image::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

const BUFFER: usize = 256 << 10;

/// The digest of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> Digest {
    finished(&Sha256::new_with_prefix(bytes))
}

/// The digest of what was hashed so far.
pub(crate) fn finished(hash: &Sha256) -> Digest {
    Digest::of_sha256(&hash.clone().finalize().into())
}

/// Hashes all of `source`; its bytes.
pub(crate) fn read(hash: &mut Sha256, mut source: impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
