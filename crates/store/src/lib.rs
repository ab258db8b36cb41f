//! Durable records of sandboxes, in one SQLite database.
//!
//! Connections are short-lived: opened for one use case and closed, never held across a fork or by a waiting process.
//! Whether a sandbox runs is a fact of the kernel; the status here is a cache of it. This crate knows no backend, and
//! what a backend wants to remember is opaque text to it.
#![forbid(unsafe_code)]

mod failure;
mod reader;
mod record;
mod schema;
mod writer;

pub use reader::Reader;
pub use record::{Cached, Handle, Intent, NewRecord, Record, Stopped};
pub use writer::{Started, Writer};
