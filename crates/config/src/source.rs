//! Positions in a text, for error messages.

use agentkernel_model::{Error, Kind, text::printable};
use std::{fmt, ops::Range};

/// A text and the name it is known by to the person who wrote it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// `NAME:LINE:COLUMN: what`, both counted from 1, the column in characters.
    pub(crate) fn error(&self, span: Range<usize>, what: impl fmt::Display) -> Error {
        Error::new(Kind::Config, self.at(span, what))
    }

    /// The same for something that is well written and cannot be done.
    pub(crate) fn unsupported(&self, span: Range<usize>, what: impl fmt::Display) -> Error {
        Error::new(Kind::Unsupported, self.at(span, what))
    }

    /// `error`, which the grammar of one value gave, with its place and `key`. What is unsupported stays so.
    pub(crate) fn locate(&self, span: Range<usize>, key: impl fmt::Display, error: &Error) -> Error {
        let what = format!("'{key}': {}", error.message());
        let placed = match error.kind() {
            Kind::Unsupported => self.unsupported(span, what),
            _ => self.error(span, what),
        };
        match error.hint() {
            Some(hint) => placed.with_hint(hint),
            None => placed,
        }
    }

    pub(crate) fn at(&self, span: Range<usize>, what: impl fmt::Display) -> String {
        let (line, column) = self.position(span.start);
        format!("{}:{line}:{column}: {what}", printable(self.name))
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
