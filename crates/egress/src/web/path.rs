//! Paths that do not mean what they show.

/// How often a path is decoded: servers behind proxies do it more than once.
const ROUNDS: usize = 4;

/// Whether some server could read `path` as another one than its text: by segments of dots, slashes that are doubled,
/// encoded or turned around, or an encoding that is none. A rule about paths cannot be held against such a one.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    if decoded(path.as_bytes(), Stray::Refused).is_none() {
        return true;
    }
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..ROUNDS {
        if is_plainly_ambiguous(&bytes) {
            return true;
        }
        // What was decoded once may hold a percent sign that is meant.
        let Some(decoded) = decoded(&bytes, Stray::Kept) else { return true };
        if decoded == bytes {
            return false;
        }
        let slashes = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'/').count();
        if slashes(&decoded) != slashes(&bytes) {
            return true;
        }
        bytes = decoded;
    }
    true
}

fn is_plainly_ambiguous(path: &[u8]) -> bool {
    let dots = |segment: &[u8]| {
        // Servers of Java cut parameters off a segment: `..;x` is `..`.
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        // An empty name behind them is a slash that is doubled.
        matches!(name, b"." | b"..") || (name.is_empty() && !segment.is_empty())
    };
    path.windows(2).any(|two| two == b"//")
        || path.iter().any(|b| *b == b'\\' || b.is_ascii_control())
        || path.split(|b| *b == b'/').any(dots)
        || std::str::from_utf8(path).is_err()
}

/// A percent sign that begins nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stray {
    Refused,
    Kept,
}

/// Escapes as what they stand for.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    decoded(text, Stray::Kept).unwrap_or_default()
}

/// `None` where a percent sign begins nothing and that is refused.
fn decoded(path: &[u8], stray: Stray) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        let escaped = match after {
            [high, low, after @ ..] if *byte == b'%' => {
                hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        if *byte == b'%' && escaped.is_none() && stray == Stray::Refused {
            return None;
        }
        let (byte, after) = escaped.unwrap_or((*byte, after));
        decoded.push(byte);
        rest = after;
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
