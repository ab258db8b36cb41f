//! Images for tests and examples: any image written by hand, and stand-ins for well-known ones made from Debian packages.
//!
//! The stand-ins have the names, the programs and the configuration that people expect, and say plainly in
//! `/etc/agentkernel-fixture` what they are. Nothing is fetched but packages, by apt, which verifies them. The same
//! packages give the same bytes.

mod apt;
mod builder;
pub mod catalogue;
mod config;
mod image;
mod layer;
mod layout;
mod packages;
mod skeleton;

pub use builder::{Builder, Built};
pub use config::ImageConfig;
pub use image::{Blob, Content, Document, Image};
pub use layer::{Layer, LayerWriter};
pub use layout::Layout;

use agentkernel_model::Error;
use std::{io, path::Path};

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot {what} '{}'", path.display()), error)
}
