//! The HTTP API: routes, who may use them, and the connections that they come over.

mod body;
pub(crate) mod envelope;
mod guard;
mod listen;
mod openapi;
mod patience;
mod peer;
mod routes;
mod sse;
mod strangers;
mod trace;
mod watch;

pub use listen::{Bound, serve};
