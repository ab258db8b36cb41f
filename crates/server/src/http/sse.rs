//! Output of commands as Server-Sent Events (WHATWG HTML, section 9.2), as the bytes are made.

use axum::response::sse::Event;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

/// One event, with its number as its id.
pub(crate) fn event(id: u64, name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().id(id.to_string()).event(name);
    // Only maps with keys that are no text fail, and we have none.
    event.json_data(data).unwrap_or_default()
}

/// Bytes of a stream on their way to text: a character that is not whole yet waits for its rest.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    rest: Vec<u8>,
}

/// A piece of output.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Piece {
    pub(crate) data: String,
    /// `base64` (RFC 4648) where the bytes are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<&'static str>,
}

impl Chunks {
    /// What of `bytes`, behind what waited, can be said now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Piece> {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        match std::str::from_utf8(&all) {
            Ok(_) => {}
            // The beginning of a character.
            Err(e) if e.error_len().is_none() => self.rest = all.split_off(e.valid_up_to()),
            Err(_) => {}
        }
        (!all.is_empty()).then(|| piece(all))
    }

    /// Bytes of the beginning of a character.
    pub(crate) fn waiting(&self) -> u64 {
        self.rest.len() as u64
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| piece(rest))
    }
}

fn piece(bytes: Vec<u8>) -> Piece {
    match String::from_utf8(bytes) {
        Ok(data) => Piece { data, encoding: None },
        Err(e) => Piece { data: STANDARD.encode(e.as_bytes()), encoding: Some("base64") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str) -> Option<Piece> {
        Some(Piece { data: data.to_owned(), encoding: None })
    }

    #[test]
    fn a_character_is_never_cut() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.push("a€".as_bytes().split_at(2).0), text("a"));
        assert_eq!(chunks.push(&"€".as_bytes()[1..2]), None);
        assert_eq!(chunks.push(&"€b".as_bytes()[2..]), text("€b"));
        assert_eq!(chunks.finish(), None);
    }

    #[test]
    fn bytes_that_are_no_text_arrive_whole() {
        let mut chunks = Chunks::default();
        let piece = chunks.push(b"\xff\x00").unwrap();
        assert_eq!((piece.data.as_str(), piece.encoding), ("/wA=", Some("base64")));
        assert_eq!(chunks.push(b"\xe2\x82"), None);
        assert_eq!(chunks.finish().unwrap().encoding, Some("base64"));
    }
}
