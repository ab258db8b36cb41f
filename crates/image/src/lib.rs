//! Images and root file systems: the built-in `host` image, and OCI images from registries and files.
//!
//! [`Images`] is a store that sandboxes share: layers are kept unpacked, each once, by what they contain. A pull
//! ([`Images::pull`]) or an import ([`Images::import`]) fills it, [`Images::find`] and [`Images::lease`] are the road of
//! every run, [`Images::prune`] and [`Images::check`] clean up. Whatever a registry, an archive or an image says is taken
//! for what a stranger says: bounded, verified, and followed nowhere.
//!
//! Where to look: `layout` says where things lie, `records` what is known of them, `layers` how they are made; `manifest`,
//! `config`, `platform` read what is described, `decode` what is compressed, `merged` and `users` what is inside;
//! `registry` talks to strangers, `credentials` finds what they ask for.
#![forbid(unsafe_code)]

mod authfile;
mod bundle;
mod config;
mod credentials;
mod decode;
mod digest;
mod disk;
mod fetch;
mod halt;
mod helper;
mod host;
mod import;
mod layers;
mod layout;
mod lock;
mod manifest;
mod merged;
mod platform;
mod progress;
mod proxies;
mod prune;
mod pull;
mod records;
mod registries;
mod registry;
mod rootfs;
mod secret;
mod store;
mod sweep;
mod toolchains;
mod tree;
mod users;

pub use config::{ImageConfig, MAX_CONFIG, parse_config};
pub use fetch::fetch;
pub use host::{HostFacts, host_rootfs, host_user};
pub use import::Names;
pub use manifest::{Descriptor, Entry, ImageManifest, Index, MAX_MANIFEST, Manifest, parse_manifest};
pub use platform::Platform;
pub use progress::{LayerState, Progress, Silent};
pub use proxies::Proxies;
pub use prune::{CheckReport, Effect, Extent, Prune, PruneReport, Removed};
pub use pull::{Change, NamedBy, Patience, PublicOnly, PullOptions, Pulled};
pub use registries::{MAX_REGISTRIES, PullPolicy, Registries};
pub use store::{Image, ImageInfo, Images};
