//! The use cases: run, create, exec, start, stop, remove, list, gc and doctor, and the keeper of named sandboxes.
//!
//! The engine owns the record of a sandbox, a backend owns an opaque [`agentkernel_backend::DriverState`]. This crate
//! knows no backend by name, prints nothing and reads no environment variable.
#![forbid(unsafe_code)]

mod boot;
mod clock;
mod create;
mod directories;
mod doctor;
pub mod engine;
mod exec;
mod gc;
pub mod guard;
mod held;
mod keeper;
mod lifecycle;
mod lock;
mod outside;
mod ports;
mod probe;
mod published;
mod query;
mod record;
pub mod request;
mod rootfs;
mod run;
mod select;

pub use engine::Engine;
