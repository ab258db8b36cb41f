//! The use cases: run, create, exec, start, stop, remove, list, gc and doctor, and the keeper of named sandboxes.
//!
//! The engine owns the record of a sandbox, a backend owns an opaque [`agentkernel_backend::DriverState`]. This crate
//! knows no backend by name, prints nothing and reads no environment variable.
#![forbid(unsafe_code)]

pub mod agents;
pub mod audit;
mod awake;
pub mod benchmark;
mod boot;
pub mod build;
mod change;
mod changes;
pub mod clean;
pub mod clock;
pub mod connections;
mod copy;
mod create;
pub mod daemon;
pub mod detached;
mod directories;
mod doctor;
pub mod engine;
mod entrypoint;
mod exec;
pub mod files;
mod gc;
pub mod guard;
mod held;
pub mod images;
mod initscript;
mod inside;
mod keeper;
mod lifecycle;
mod lock;
mod made;
pub mod memory;
pub mod network;
mod outside;
mod ports;
mod private;
mod probe;
mod published;
mod query;
mod reach;
mod record;
pub mod request;
mod rootfs;
mod run;
pub mod runner;
mod sealed;
mod select;
pub mod stats;
mod step;
pub mod templates;
pub mod trusted;
pub mod values;
pub mod volumes;

pub use engine::Engine;

/// A command that was started, as [`Engine::run`] and [`Engine::exec`] return it.
pub mod process {
    pub use agentkernel_backend::{ByteSink, ByteSource, Control, Exit, ExitFuture, Output, Process};
}
