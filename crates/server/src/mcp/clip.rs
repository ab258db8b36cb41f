//! The beginning and the end of what a command writes: an agent has little room, and what says most stands there.

use std::{borrow::Cow, collections::VecDeque};

/// The most bytes of a text that an agent is told.
pub(super) const MOST: usize = 16_000;
/// How many of them are of each end, when there is more.
const END: usize = MOST / 2;

/// A stream of bytes of which both ends are kept, in memory that is bounded.
#[derive(Debug, Default)]
pub(super) struct Clip {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Clip {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = END - self.head.len();
        let (first, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(END)..];
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(END);
        self.tail.drain(..over);
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    /// Whether bytes are left out.
    pub(super) fn is_cut(&self) -> bool {
        self.total > (self.head.len() + self.tail.len()) as u64
    }

    /// What is kept, as text; a marker stands where bytes are left out, and no character is broken there.
    pub(super) fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        if self.is_cut() {
            return joined(&self.head, &tail, self.total);
        }
        String::from_utf8_lossy(&[self.head.as_slice(), &tail].concat()).into_owned()
    }

    /// All bytes, where none are left out.
    pub(super) fn whole(&self) -> Option<Vec<u8>> {
        let (first, second) = self.tail.as_slices();
        (!self.is_cut()).then(|| [self.head.as_slice(), first, second].concat())
    }

    /// Whether what is kept is text, as far as that can be told.
    pub(super) fn is_text(&self) -> bool {
        let is_text = |bytes: &[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
        match self.whole() {
            Some(bytes) => is_text(&bytes),
            None => {
                let tail: Vec<u8> = self.tail.iter().copied().collect();
                is_text(whole_end(&self.head)) && is_text(whole_start(&tail))
            }
        }
    }

    fn append_to(&self, merged: &mut Self) {
        let (first, second) = self.tail.as_slices();
        for kept in [self.head.as_slice(), first, second] {
            merged.push(kept);
        }
        // What is left out here is nearer to the middle of all than what is kept.
        merged.total += self.total - (self.head.len() + self.tail.len()) as u64;
    }
}

/// Standard output, a line end where it has none, and standard error: what both ends of it all are.
pub(super) fn merged(stdout: &Clip, stderr: &Clip) -> Clip {
    let mut all = Clip::default();
    stdout.append_to(&mut all);
    if stderr.total > 0 {
        let last = stdout.tail.back().or(stdout.head.last());
        if last.is_some_and(|byte| *byte != b'\n') {
            all.push(b"\n");
        }
        stderr.append_to(&mut all);
    }
    all
}

/// `text`, or both its ends.
pub(super) fn clipped(text: &str) -> Cow<'_, str> {
    if text.len() <= MOST {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    Cow::Owned(joined(&bytes[..END], &bytes[bytes.len() - END..], bytes.len() as u64))
}

fn joined(head: &[u8], tail: &[u8], total: u64) -> String {
    let (head, tail) = (whole_end(head), whole_start(tail));
    let left_out = total - (head.len() + tail.len()) as u64;
    let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
    format!("{head}\n[... {left_out} bytes left out ...]\n{tail}")
}

/// A piece of a stream as text, without the parts of characters at its ends.
pub(super) fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(whole_start(whole_end(bytes))).into_owned()
}

/// Without the beginning of a character at the end.
fn whole_end(bytes: &[u8]) -> &[u8] {
    let start = (1..=3.min(bytes.len())).map(|back| bytes.len() - back).find(|at| bytes[*at] >= 0xc0);
    match start {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.error_len().is_none()) => &bytes[..at],
        _ => bytes,
    }
}

/// Without the end of a character at the start.
fn whole_start(bytes: &[u8]) -> &[u8] {
    let continued = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
    &bytes[continued..]
}

#[cfg(test)]
#[path = "clip_tests.rs"]
mod tests;
