//! OpenTelemetry traces. Other crates mark steps with spans of the library `tracing`, which cost next to nothing until a
//! [`Recorder`] is [installed](Recorder::install); this crate makes a trace of them and sends it to a collector.
//!
//! ```text
//! spans of `tracing` ─> Recorder ─> Outbox ─┬─> Exporter ─> OTLP over HTTP     a command at its end, a server as it goes
//!                                           └─> the process that asked         of a runner and of a keeper
//! ```
//!
//! What is in a span: its name, its times, and the few fields that are written where it is made. No command line, no
//! variable and no path of a caller is among them.
#![forbid(unsafe_code)]

mod context;
mod export;
mod outbox;
mod proto;
mod recorder;
mod sampler;
mod settings;
mod span;

pub use context::Context;
pub use export::Exporter;
pub use outbox::Outbox;
pub use recorder::{Recorder, adopt, context, current, take_in, take_out};
pub use sampler::Sampler;
pub use settings::{Settings, Trouble, is_wanted};
pub use span::{Finished, Kind, Value};

/// The variable, in an environment, of the trace that whatever runs in it is part of.
pub const VARIABLE: &str = "TRACEPARENT";

/// Variables of which the values are secrets: no process that becomes process 1 of a sandbox needs them.
pub const SECRET_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];
