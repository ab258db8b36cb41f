//! agentkernel.toml and language detection, parsed into model values.
//!
//! This crate opens no file: texts and directory listings come in as arguments. It knows the grammar of the
//! configuration ([`Config`]), of templates ([`template`]) and of `devcontainer.json` ([`devcontainer`]), which of them a
//! file that was only found may decide ([`trust`]), what they come to ([`ingredients`]), how a sandbox is written as a
//! configuration ([`export`]), what plugins put into files of coding agents ([`plugin`]), and which image fits a command or a project ([`detect`]). It knows no backend, no policy
//! beyond names, and no place on disk.
#![forbid(unsafe_code)]

mod account;
pub mod api;
mod author;
mod bound;
mod build;
pub mod detect;
pub mod devcontainer;
mod document;
mod entry;
pub mod export;
pub mod file;
pub mod ingredients;
pub mod init;
mod key;
mod languages;
mod layer;
pub mod mode;
pub mod plugin;
pub mod procfile;
mod render;
mod schema;
mod secrets;
mod section;
mod source;
pub mod template;
pub mod trust;
mod validate;
mod workspace;

pub use account::Account;
pub use author::GitIdentity;
pub use build::Build;
pub use detect::{Detected, ProjectFiles, Why};
pub use entry::{FileBody, FileEntry};
pub use file::{Config, Domains};
pub use ingredients::Ingredients;
pub use mode::Mode;
pub use schema::{reference, schema};
pub use template::{Template, TemplateInfo};
pub use trust::Restricted;
pub use validate::Warning;
pub use workspace::{MountRequest, Share, WorkspaceRequest};
