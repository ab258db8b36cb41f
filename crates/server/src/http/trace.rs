//! The trace that a request is part of (W3C Trace Context), for the command that it runs.

use agentkernel_model::command::EnvVar;
use agentkernel_trace::{Context, VARIABLE, current};
use axum::{extract::FromRequestParts, http::request::Parts};
use std::convert::Infallible;

/// The longest `tracestate` that is passed on, in bytes: as much as the standard asks for.
const MAX_STATE: usize = 512;

/// `TRACEPARENT` and `TRACESTATE`; nothing where the headers are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(pub(crate) Vec<EnvVar>);

impl Trace {
    /// Those beside `own`, which win.
    pub(crate) fn beside(self, own: &[EnvVar]) -> impl Iterator<Item = EnvVar> {
        let own: Vec<String> = own.iter().map(|variable| variable.key().to_owned()).collect();
        self.0.into_iter().filter(move |variable| !own.iter().any(|key| key == variable.key()))
    }

    fn of(parent: Option<&str>, state: Option<&str>) -> Self {
        let Some(parent) = parent.filter(|text| Context::parse(text).is_some()) else {
            return Self::default();
        };
        let state =
            state.filter(|text| (1..=MAX_STATE).contains(&text.len()) && text.bytes().all(is_visible));
        let variables = [(VARIABLE, Some(parent)), ("TRACESTATE", state)];
        Self(variables.into_iter().filter_map(|(key, value)| EnvVar::new(key, value?).ok()).collect())
    }
}

const fn is_visible(byte: u8) -> bool {
    byte == b' ' || byte.is_ascii_graphic()
}

impl<S: Send + Sync> FromRequestParts<S> for Trace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let mut trace = Self::of(text("traceparent"), text("tracestate"));
        // Where spans are recorded, the command is part of the run's, and the engine says so.
        if current().is_some() {
            trace.0.retain(|variable| variable.key() != VARIABLE);
        }
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(parent: &str, state: &str) -> Vec<String> {
        let trace = Trace::of(Some(parent), Some(state));
        trace.0.iter().map(|variable| format!("{}={}", variable.key(), variable.value())).collect()
    }

    #[test]
    fn a_trace_becomes_variables() {
        assert_eq!(of(PARENT, "a=1"), [format!("TRACEPARENT={PARENT}"), "TRACESTATE=a=1".to_owned()]);
        let own = [EnvVar::new("TRACEPARENT", "mine").unwrap()];
        let left: Vec<EnvVar> = Trace::of(Some(PARENT), Some("a=1")).beside(&own).collect();
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn what_is_no_trace_is_left_out() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let upper = PARENT.to_uppercase();
        for wrong in ["", "00", "x; rm -rf /", zeros, &upper, &PARENT[1..], &format!("{PARENT}-more")] {
            assert!(of(wrong, "a=1").is_empty(), "{wrong}");
        }
        assert_eq!(of(PARENT, &"x".repeat(MAX_STATE + 1)).len(), 1);
    }
}
