//! Text that came from outside, made fit for a terminal.

use std::fmt::Write as _;

/// `text` with every control character (escape sequences, carriage returns, bidirectional overrides) spelled out,
/// so that a name or a path chosen by somebody else cannot drive the terminal it is shown on.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if hidden {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}
