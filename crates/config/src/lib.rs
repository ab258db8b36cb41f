//! agentkernel.toml and language detection, parsed into model values.
//!
//! This crate opens no file: texts and directory listings come in as arguments. It knows the grammar of the
//! configuration, which of it a file that was only found may decide ([`trust`]), and which image fits a command or a
//! project ([`detect`]). It knows no backend, no policy beyond names, and no place on disk.
#![forbid(unsafe_code)]

pub mod detect;
pub mod file;
mod languages;
pub mod procfile;
mod section;
mod source;
pub mod trust;

pub use detect::{Detected, ProjectFiles, Why};
pub use file::{Agent, Config};
pub use trust::Restricted;
