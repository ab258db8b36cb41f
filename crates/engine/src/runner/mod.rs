//! Runners: each is a small process of this same binary that serves one ephemeral run, or tries out backends.
//!
//! Process 1 of a sandbox can be a clone of the process that calls the backend. A server has keys, values of secrets and
//! requests of many callers in its memory, and many threads: it hands each run to a runner, which knows that one run and
//! nothing else. The streams of the command come back as descriptors, so no byte takes a detour.
//!
//! A runner lives as long as its line, a socket: when the other side is gone, for whatever reason, it ends its command and
//! removes the sandbox before it ends. When the runner is killed, the sandbox ends as that of any killed run.

mod client;
mod launch;
mod line;
mod protocol;
mod serve;
mod streams;

pub use serve::serve;

pub(crate) use client::{probe, run};
pub(crate) use launch::Runners;

/// The hidden verb of the command line that runs [`serve`].
pub const VERB: &str = "runner";
