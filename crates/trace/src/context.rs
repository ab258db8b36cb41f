//! Where a span is: its trace, itself, and whether it is recorded (W3C Trace Context).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A span as others name it: the text of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Context {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
    pub(crate) is_sampled: bool,
}

impl Context {
    /// Version 00: `00-<32 hex>-<16 hex>-<2 hex>`, in lower case, neither id all zeros.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut next = || parts.next();
        let (version, trace, span, flags) = (next()?, next()?, next()?, next()?);
        if version != "00" || next().is_some() {
            return None;
        }
        let (trace, span, [flags]) = (bytes::<16>(trace)?, bytes::<8>(span)?, bytes::<1>(flags)?);
        let is_named = trace != [0; 16] && span != [0; 8];
        is_named.then_some(Self { trace, span, is_sampled: flags & 1 == 1 })
    }

    /// A span of a trace of its own.
    pub(crate) fn root() -> Self {
        Self { trace: random(), span: random(), is_sampled: true }
    }

    /// A new span below this one.
    pub(crate) fn child(self) -> Self {
        Self { span: random(), ..self }
    }
}

/// Random, and not all zeros.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without the system's source of randomness: ids that are the same twice cost a picture, and no run.
    if getrandom::fill(&mut bytes).is_err() || bytes == [0; N] {
        bytes[N - 1] = 1;
    }
    bytes
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        self.trace.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", u8::from(self.is_sampled))
    }
}

impl From<Context> for String {
    fn from(context: Context) -> Self {
        context.to_string()
    }
}

impl TryFrom<String> for Context {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no traceparent of version 00")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_was() {
        assert_eq!(Context::parse(TEXT).unwrap().to_string(), TEXT);
        let unsampled = TEXT.replace("-01", "-00");
        assert_eq!(Context::parse(&unsampled).unwrap().to_string(), unsampled);
        assert!(!Context::parse(&unsampled).unwrap().is_sampled);
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let no_span = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        let upper = TEXT.to_uppercase();
        let plus = TEXT.replace("0af7", "+af7");
        let wide = TEXT.replace("0af7", "é" /* two bytes */);
        for wrong in
            ["", "00", "x; rm -rf /", zeros, no_span, &upper, &plus, &wide, &TEXT[1..], &format!("{TEXT}-1")]
        {
            assert_eq!(Context::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace() {
        let parent = Context::root();
        let child = parent.child();
        assert_eq!(parent.trace, child.trace);
        assert_ne!(parent.span, child.span);
    }
}
