//! Docker and Podman, over the API of their sockets.
//!
//! Where to look: `endpoint` finds the engine, `facts` asks what it can do, `plan` and `mounts` say what a sandbox is in
//! the engine's words, `image` brings its root there, `launch` starts it and waits for its agent, `once` is the short
//! road. From then on commands and files go through the agent of the guest crate, not through the engine.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod backend;
mod endpoint;
mod engine;
mod facts;
mod fault;
mod flavor;
mod image;
mod installation;
mod keeper;
mod launch;
mod mounts;
mod once;
mod places;
mod plan;
mod probe;
mod sandbox;
mod seccomp;
mod service;
mod workspace;

use agentkernel_backend::{Backend, Driver, Host};
use agentkernel_model::{
    Result,
    capabilities::{Boundary, Class},
};
use backend::Container;
use flavor::Flavor;
use std::sync::Arc;

/// The registration of Docker.
pub const DOCKER: Driver = Driver {
    id: "docker",
    aliases: &[],
    class: Class::Local,
    isolation: Boundary::Kernel,
    auto_rank: Some(5),
    build: docker,
};

/// The registration of Podman.
pub const PODMAN: Driver = Driver {
    id: "podman",
    aliases: &[],
    class: Class::Local,
    isolation: Boundary::Kernel,
    auto_rank: Some(6),
    build: podman,
};

#[expect(clippy::unnecessary_wraps, reason = "the type of every driver's constructor")]
fn docker(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Container::new(DOCKER.id, Flavor::Docker, host)))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of every driver's constructor")]
fn podman(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Container::new(PODMAN.id, Flavor::Podman, host)))
}
