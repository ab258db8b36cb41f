//! Inbound adapters: the HTTP API, the MCP server and the page. They turn requests into calls of the engine and its
//! answers into messages; they know no backend by name and print nothing.
#![forbid(unsafe_code)]

pub mod access;
mod agent;
mod app;
mod create;
mod events;
mod execution;
mod fields;
mod http;
pub mod keys;
mod machine;
pub mod mcp;
mod metrics;
pub mod options;
mod page;
mod running;
pub mod secrets;
mod wish;

pub use app::App;
pub use http::{Bound, serve};
