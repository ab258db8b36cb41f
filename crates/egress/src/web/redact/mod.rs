//! Takes secrets out of a stream of bytes.
//!
//! Defence in depth, for services that repeat what they were sent: what they keep, or encode in a way of their own,
//! passes.

mod body;
mod needles;

pub(super) use body::{Broken, Encoding, Redacting, redact_headers};
pub(super) use needles::Needles;

use bytes::Bytes;
use needles::Found;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Replaces every needle, leftmost and longest first, however the stream is cut. Holds back what can be the beginning of a
/// needle, and no byte more.
pub(super) struct Redactor {
    needles: Arc<Needles>,
    /// The beginning of a needle, perhaps: shorter than the longest of them.
    held: Zeroizing<Vec<u8>>,
}

impl Redactor {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Zeroizing::default() }
    }

    /// Appends to `output` what is sure by now.
    pub(super) fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        if self.held.is_empty() {
            let held = self.scan(input, End::Open, output);
            self.held.extend_from_slice(input.get(held..).unwrap_or_default());
            return;
        }
        self.held.extend_from_slice(input);
        let mut data = std::mem::take(&mut self.held);
        let held = self.scan(&data, End::Open, output);
        let held = held.min(data.len());
        data.drain(..held);
        self.held = data;
    }

    /// The same for a whole piece, which is given back as it is where there is nothing to take out.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() && self.needles.candidate(&piece).is_none() {
            return piece;
        }
        let mut output = Vec::with_capacity(piece.len());
        self.push(&piece, &mut output);
        output.into()
    }

    /// Nothing follows: what was held is not the beginning of anything.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        let data = std::mem::take(&mut self.held);
        self.scan(&data, End::Reached, output);
    }

    /// Where the bytes to hold begin.
    fn scan(&self, data: &[u8], end: End, output: &mut Vec<u8>) -> usize {
        let (mut written, mut at) = (0, 0);
        while let Some(rest) = data.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(skipped) = self.needles.candidate(rest) else { break };
            at += skipped;
            let rest = rest.get(skipped..).unwrap_or_default();
            match self.needles.look(rest, matches!(end, End::Reached)) {
                Found::Nothing => at += 1,
                Found::Whole(length) => {
                    output.extend_from_slice(data.get(written..at).unwrap_or_default());
                    output.extend_from_slice(self.needles.mask());
                    at += length;
                    written = at;
                }
                Found::Beginning => {
                    output.extend_from_slice(data.get(written..at).unwrap_or_default());
                    return at;
                }
            }
        }
        output.extend_from_slice(data.get(written..).unwrap_or_default());
        data.len()
    }
}

#[derive(Clone, Copy)]
enum End {
    Open,
    Reached,
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
