//! A span that has ended.

use crate::Context;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The longest text of an attribute, in bytes; the rest is cut off.
const MAX_TEXT: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finished {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    pub(crate) context: Context,
    /// The id of the span above it.
    pub(crate) parent: Option<[u8; 8]>,
    /// In nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<(Cow<'static, str>, Value)>,
    /// It did not do what it was to: what kind of error there was stands in `error.type`.
    pub(crate) is_failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Internal,
    /// It answers somebody who asked.
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    Text(String),
    Bool(bool),
    Int(i64),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        let mut end = text.len().min(MAX_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::Text(text[..end].to_owned())
    }
}
