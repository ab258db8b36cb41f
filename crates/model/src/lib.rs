//! The words of agentkernel: names, specs, policy, capabilities and errors, and every text grammar.
//!
//! This crate knows no file system, no environment, no process and no async runtime. A value of one of
//! its types has been parsed: past this crate nothing is a raw string.
#![forbid(unsafe_code)]

pub mod agent;
pub mod capabilities;
pub mod capset;
pub mod cidr;
pub mod command;
pub mod egress;
pub mod error;
pub mod guard;
pub mod id;
pub mod image;
pub mod limits;
pub mod mount;
pub mod name;
pub mod path;
pub mod policy;
pub mod port;
pub mod position;
pub mod runtime;
pub mod seccomp;
pub mod secret;
pub mod size;
pub mod spec;
pub mod suggest;
pub mod text;

pub use error::{Error, Kind, Result};
