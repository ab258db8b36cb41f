//! The readers of hostile bytes, for `fuzz/fuzz_targets/gateway.rs`.

use crate::{dns, hello, web};

/// Reads `bytes` as everything that they could be.
///
/// # Panics
/// When a reader does, or breaks its promise: that is the finding.
pub fn read(bytes: &[u8]) {
    let told = hello::classify(bytes);
    // More bytes never change what was told.
    if told.is_some() {
        let longer = [bytes, b"x"].concat();
        assert_eq!(hello::classify(&longer), told, "a greeting changed with what came behind it");
    }
    dns::read(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (hello::host_of(text), web::is_ambiguous(text));
    }
}
