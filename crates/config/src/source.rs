//! Positions in a configuration text, for error messages.

use agentkernel_model::{Error, Kind, text::printable};
use std::{fmt, ops::Range};

/// A configuration text and the name it is known by to the person who wrote it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// `NAME:LINE:COLUMN: what`, both counted from 1, the column in characters.
    pub(crate) fn error(&self, span: Range<usize>, what: impl fmt::Display) -> Error {
        let (line, column) = self.position(span.start);
        Error::new(Kind::Config, format!("{}:{line}:{column}: {what}", printable(self.name)))
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        // A parser may point behind the text, or (for a broken one) into a character.
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (line, column)
    }
}
