//! What every target demands beside not panicking.
#![forbid(unsafe_code)]

use agentkernel_model::{Error, Kind};

/// The longest message that a terminal should have to show.
const LONGEST: usize = 64 * 1024;

/// A refusal must name a fault of the input, in one printable line of bounded length, with a printable hint.
///
/// # Panics
/// When it does not: that is the finding.
pub fn refused(error: &Error, allowed: &[Kind]) {
    let message = error.to_string();
    assert!(allowed.contains(&error.kind()), "{:?}: {message}", error.kind());
    assert!(message.len() <= LONGEST, "{} bytes of message", message.len());
    assert!(!message.is_empty());
    for text in [message.as_str(), error.hint().unwrap_or_default()] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "not printable: {text:?}");
    }
    assert!(!message.contains('\n'), "more than a line: {message:?}");
}
