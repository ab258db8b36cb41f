//! The detach keys, ctrl-p ctrl-q, in a stream of typed bytes.

const CTRL_P: u8 = 0x10;
const CTRL_Q: u8 = 0x11;

/// Holds back a ctrl-p until the next byte tells what it was.
#[derive(Debug, Default)]
pub(super) struct Keys {
    held: bool,
}

/// What a chunk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// To be passed on.
    Bytes(Vec<u8>),
    /// To be passed on before leaving. What follows the keys is dropped.
    Detach(Vec<u8>),
}

impl Keys {
    pub(super) fn pass(&mut self, chunk: &[u8]) -> Seen {
        let mut bytes = Vec::with_capacity(chunk.len() + 1);
        for byte in chunk {
            match (self.held, *byte) {
                (true, CTRL_Q) => return Seen::Detach(bytes),
                // A second ctrl-p releases the first, and may begin the keys itself.
                (true, CTRL_P) => bytes.push(CTRL_P),
                (true, other) => {
                    self.held = false;
                    bytes.extend([CTRL_P, other]);
                }
                (false, CTRL_P) => self.held = true,
                (false, other) => bytes.push(other),
            }
        }
        Seen::Bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All chunks, one after the other; `None` instead of the rest once the keys were seen.
    fn typed(chunks: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = Keys::default();
        let mut all = Vec::new();
        for chunk in chunks {
            match keys.pass(chunk) {
                Seen::Bytes(bytes) => all.extend(bytes),
                Seen::Detach(bytes) => {
                    all.extend(bytes);
                    return (all, true);
                }
            }
        }
        (all, false)
    }

    #[test]
    fn the_keys_leave_wherever_the_chunks_are_cut() {
        for chunks in [&[&b"ls\x10\x11rest"[..]][..], &[b"ls\x10", b"\x11"], &[b"l", b"s", b"\x10", b"\x11"]]
        {
            assert_eq!(typed(chunks), (b"ls".to_vec(), true));
        }
    }

    #[test]
    fn everything_else_passes_unchanged() {
        assert_eq!(typed(&[b"a\x10b", b"\x11c"]), (b"a\x10b\x11c".to_vec(), false));
        assert_eq!(typed(&[b"\x10", b"\x10", b"x"]), (b"\x10\x10x".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }
}
