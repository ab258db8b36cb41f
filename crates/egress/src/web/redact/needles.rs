//! What is searched for: a secret as it is, in base64, percent-encoded and in strings of JSON.

use base64::{
    Engine as _,
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// A secret of fewer bytes is not searched for: it would be found where it is not meant.
pub(crate) const SHORTEST: usize = 8;

/// Beyond this, what is looked at is little enough, and a long needle has many pairs of bytes.
const LONGEST_REACH: usize = 64;

const MASK: &[u8] = b"[redacted]";
/// Not ASCII, as every needle is: for needles that the usual mask could be a part of.
const OTHER_MASK: &[u8] = "\u{fffd}".as_bytes();

pub(in crate::web) struct Needles {
    /// Longest first. Each has at least [`SHORTEST`] bytes.
    list: Vec<Zeroizing<Vec<u8>>>,
    /// The two bytes that a needle begins with.
    begins: Pairs,
    /// Every two bytes that stand together in the first [`Needles::reach`] bytes of a needle. Where two others are, no needle
    /// is around them: nearly all of a piece is passed by looking at one pair of so many bytes.
    within: Pairs,
    /// As long as the shortest needle, within bounds.
    reach: usize,
    /// The same for one byte, for the last one of a piece.
    firsts: [bool; 256],
    mask: &'static [u8],
}

pub(super) enum Found {
    Nothing,
    /// A needle of this length.
    Whole(usize),
    /// All there is could be the beginning of a needle, or of a longer one than the one that is there.
    Beginning,
}

impl Needles {
    /// For pairs of a secret and the whole value of the header that carries it.
    pub(in crate::web) fn new<'a>(sent: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut list = Vec::new();
        for (secret, header) in sent.into_iter().filter(|(secret, _)| secret.len() >= SHORTEST) {
            add_forms(secret, &mut list);
            if header != secret {
                add_forms(header, &mut list);
            }
        }
        list.retain(|needle| needle.len() >= SHORTEST);
        list.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        list.dedup();
        let reach = list.last().map_or(SHORTEST, |shortest| shortest.len()).min(LONGEST_REACH);
        let (mut begins, mut within, mut firsts) = (Pairs::none(), Pairs::none(), [false; 256]);
        for needle in &list {
            for (place, two) in needle.windows(2).take(reach - 1).enumerate() {
                within.add(two);
                if place == 0 {
                    begins.add(two);
                    firsts[usize::from(two[0])] = true;
                }
            }
        }
        let clear = |needle: &Zeroizing<Vec<u8>>| {
            needle.is_ascii()
                && !needle.iter().any(|b| matches!(b, b'[' | b']'))
                && !MASK.windows(needle.len().min(MASK.len())).any(|part| part == needle.as_slice())
        };
        let mask = if list.iter().all(clear) { MASK } else { OTHER_MASK };
        Self { list, begins, within, reach, firsts, mask }
    }

    pub(in crate::web) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) const fn mask(&self) -> &'static [u8] {
        self.mask
    }

    /// The first place of `data` at which a needle may begin: by its first two bytes, or by the last byte of all.
    pub(super) fn candidate(&self, data: &[u8]) -> Option<usize> {
        // A needle that begins among the next `reach - 1` bytes has the last two of `reach` within.
        let (reach, mut at) = (self.reach, 0);
        while let Some(window) = data.get(at..at + reach) {
            if self.within.has(&window[reach - 2..])
                && let Some(place) = window.windows(2).position(|two| self.begins.has(two))
            {
                return Some(at + place);
            }
            at += reach - 1;
        }
        let rest = &data[at.min(data.len())..];
        let last = || rest.last().filter(|last| self.firsts[usize::from(**last)]).map(|_| rest.len() - 1);
        rest.windows(2).position(|two| self.begins.has(two)).or_else(last).map(|place| at + place)
    }

    /// What `rest` begins with. `is_all`: nothing follows it.
    pub(super) fn look(&self, rest: &[u8], is_all: bool) -> Found {
        for needle in &self.list {
            if needle.len() > rest.len() {
                if !is_all && needle.starts_with(rest) {
                    return Found::Beginning;
                }
            } else if rest.starts_with(needle) {
                return Found::Whole(needle.len());
            }
        }
        Found::Nothing
    }
}

/// A set of two bytes.
struct Pairs(Box<[u64; 1024]>);

impl Pairs {
    fn none() -> Self {
        Self(Box::new([0; 1024]))
    }

    fn place(two: &[u8]) -> Option<(usize, u64)> {
        let index = u16::from_be_bytes(*two.first_chunk()?);
        Some((usize::from(index / 64), 1 << (index % 64)))
    }

    fn add(&mut self, two: &[u8]) {
        if let Some((word, bit)) = Self::place(two) {
            self.0[word] |= bit;
        }
    }

    fn has(&self, two: &[u8]) -> bool {
        Self::place(two).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }
}

fn add_forms(value: &[u8], list: &mut Vec<Zeroizing<Vec<u8>>>) {
    list.push(Zeroizing::new(value.to_vec()));
    for alphabet in [&STANDARD, &URL_SAFE] {
        list.extend((0..3).map(|before| in_base64(value, before, alphabet)));
    }
    list.extend([b"\"\\".as_slice(), b"\"\\/"].map(|escaped| in_json(value, escaped)));
    // As nearly all keys are: whoever encodes one leaves it as it is.
    if value.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b)) {
        return;
    }
    for bare in BARE {
        for (hex, space) in [(Hex::Upper, "%20"), (Hex::Lower, "%20"), (Hex::Upper, "+"), (Hex::Lower, "+")] {
            let form = percent_encoded(value, bare, hex, space);
            if !list.contains(&form) {
                list.push(form);
            }
        }
    }
}

/// What stays as it is beside letters and digits, by who encodes.
const BARE: [&[u8]; 6] = [
    // RFC 3986, section 2.3.
    b"-._~",
    // Forms (WHATWG URL), Java's URLEncoder.
    b"-._*",
    // Python's quote.
    b"-._~/",
    // JavaScript's encodeURIComponent, and its encodeURI.
    b"-._~!*'()",
    b"-._~!*'();,/?:@&=+$#",
    // Go's PathEscape.
    b"-._~$&+=:@",
];

/// The digits of base64 that `value` alone decides, where `before` bytes stand in front of it.
fn in_base64(value: &[u8], before: usize, alphabet: &Alphabet) -> Zeroizing<Vec<u8>> {
    let mut padded = Zeroizing::new(Vec::with_capacity(before + value.len()));
    padded.resize(before, 0);
    padded.extend_from_slice(value);
    let digits = Zeroizing::new(GeneralPurpose::new(alphabet, NO_PAD).encode(&*padded));
    let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    Zeroizing::new(digits.as_bytes().get(from..to).unwrap_or_default().to_vec())
}

/// In a string of JSON (RFC 8259, section 7); some writers escape the slash as well.
fn in_json(value: &[u8], escaped: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(value.len() * 2));
    for byte in value {
        if escaped.contains(byte) {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

#[derive(Clone, Copy)]
enum Hex {
    Upper,
    Lower,
}

/// RFC 3986, section 2: everything but letters, digits and what is `bare`. `space` is `+` in forms (WHATWG URL).
fn percent_encoded(value: &[u8], bare: &[u8], hex: Hex, space: &str) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(String::with_capacity(value.len() * 3));
    for byte in value {
        // Writing to a string does not fail.
        let _ = match byte {
            b if b.is_ascii_alphanumeric() || bare.contains(b) => text.write_char(char::from(*b)),
            b' ' => text.write_str(space),
            _ => match hex {
                Hex::Upper => write!(text, "%{byte:02X}"),
                Hex::Lower => write!(text, "%{byte:02x}"),
            },
        };
    }
    Zeroizing::new(text.as_bytes().to_vec())
}
