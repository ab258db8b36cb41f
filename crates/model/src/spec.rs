//! The resolved description of one sandbox: what every flag, file and default came to.

use crate::{
    command::{EnvVar, User},
    image::ImageRef,
    mount::Workspace,
    path::GuestPath,
    policy::EffectivePolicy,
    port::PublishedPort,
};
use serde::{Deserialize, Serialize};

/// A sandbox before any backend has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SandboxSpec {
    pub image: ImageRef,
    pub workspace: Workspace,
    /// The environment of every command, on top of the image's.
    pub env: Vec<EnvVar>,
    /// `None`: `/workspace` where there is one, else `/`.
    pub workdir: Option<GuestPath>,
    /// `None`: the image's user; root inside for `host`.
    pub user: Option<User>,
    pub ports: Vec<PublishedPort>,
    pub policy: EffectivePolicy,
    pub isolation: Isolation,
    pub lifetime: Lifetime,
}

/// The least isolation that the caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Whatever the best backend offers.
    #[default]
    Any,
    /// A kernel of the sandbox's own.
    Vm,
}

/// How long the sandbox is meant to live; lets a backend choose the cheapest storage that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// Gone with its one command.
    Ephemeral,
    /// Its disk survives a stop.
    Named,
}
