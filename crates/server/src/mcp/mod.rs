//! The MCP server: tools with which an agent runs commands in sandboxes, over stdin and stdout or over HTTP.
//!
//! The protocol itself is rmcp's. Here is what the tools are ([`tools`]), what becomes of a call ([`handler`]), how much an
//! agent is told of what a command writes ([`output`], [`clip`], [`progress`]), and how messages come ([`stdio`], [`http`]).

mod answer;
mod calls;
mod clip;
mod handler;
mod http;
mod line;
mod output;
mod progress;
mod stdio;
mod tools;

pub(crate) use calls::Calls;
pub(crate) use http::route;
pub use line::{Line, parse};
pub use stdio::serve as serve_stdio;
