//! Files of certificates in PEM (RFC 7468), one after another.

use super::{MAX_BUNDLE, SYSTEM_BUNDLES};
use std::{fs::File, io::Read as _};

/// The lines around ours, by which the one of an earlier start is found.
const BEGIN: &[u8] = b"# agentkernel: begin\n";
const END: &[u8] = b"# agentkernel: end\n";

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
const CERTIFICATE_END: &[u8] = b"-----END CERTIFICATE-----";

/// The certificates in `text` but the one that was added before, and nothing else that stands there: an image chooses which
/// file that is.
pub(super) fn certificates(text: &[u8]) -> Vec<u8> {
    let text = without_ours(text);
    let mut all = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while let Some(begin) = find(rest, CERTIFICATE) {
        let Some(length) = find(&rest[begin..], CERTIFICATE_END) else { break };
        let end = begin + length + CERTIFICATE_END.len();
        all.extend_from_slice(&rest[begin..end]);
        all.push(b'\n');
        rest = &rest[end..];
    }
    all
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}

/// `text` and then `authority`, in place of one that was added before.
pub(super) fn with_authority(text: &[u8], authority: &str) -> Vec<u8> {
    let mut whole = without_ours(text);
    if authority.is_empty() {
        return whole;
    }
    if !whole.is_empty() && !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    whole.extend_from_slice(BEGIN);
    whole.extend_from_slice(authority.as_bytes());
    if !authority.ends_with('\n') {
        whole.push(b'\n');
    }
    whole.extend_from_slice(END);
    whole
}

/// What a sandbox wrote there itself may hold half of our lines: then nothing is taken out.
fn without_ours(text: &[u8]) -> Vec<u8> {
    let Some(begin) = find(text, BEGIN) else { return text.to_vec() };
    let Some(length) = find(&text[begin..], END) else { return text.to_vec() };
    let end = begin + length;
    [&text[..begin], &text[end + END.len()..]].concat()
}

/// What this machine trusts; `None` where it has no such file, or one that is too long.
pub(super) fn of_this_machine() -> Option<Vec<u8>> {
    let file = SYSTEM_BUNDLES.iter().find_map(|path| File::open(path).ok())?;
    let mut text = Vec::new();
    let read = file.take(MAX_BUNDLE + 1).read_to_end(&mut text).ok()?;
    (read as u64 <= MAX_BUNDLE).then_some(text)
}
