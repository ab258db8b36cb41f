//! Docker and Podman, over the API of their sockets; Apple's `container`, over its command line.
//!
//! Where to look: `endpoint` finds the engine, `remote` reads addresses of other machines, `dial` connects, `facts` asks what
//! it can do, `weigh` says what may be asked of it, `delivery` brings the agent to an engine that does not see this machine's
//! files, `plan` and `mounts` say what a sandbox is in the engine's words, `sources` and `watch` see to it that what is mounted
//! is what was meant, `image` brings its root there, `launch` starts it and waits for its agent, `once` is the short road.
//! From then on commands and files go through the agent of the guest crate, not through the engine.
//! `apple` is apart: it shares the images and the places on this machine, and is all that there is on macOS.
#![forbid(unsafe_code)]
#![cfg(any(target_os = "linux", target_os = "macos"))]

mod apple;
#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod delivery;
#[cfg(target_os = "linux")]
mod dial;
#[cfg(target_os = "linux")]
mod endpoint;
#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod facts;
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the engines are on Linux"))]
mod fault;
#[cfg(target_os = "linux")]
mod flavor;
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the engines are on Linux"))]
mod image;
#[cfg(target_os = "linux")]
mod installation;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod once;
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the engines are on Linux"))]
mod places;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod remote;
#[cfg(target_os = "linux")]
mod sandbox;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod service;
#[cfg(target_os = "linux")]
mod sources;
#[cfg(target_os = "linux")]
mod stream;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(target_os = "linux")]
mod volumes;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(target_os = "linux")]
mod weigh;
#[cfg(target_os = "linux")]
mod workspace;

use agentkernel_backend::{Backend, Driver, Host};
use agentkernel_model::{
    Result,
    capabilities::{Boundary, Class},
};
use apple::Apple;
#[cfg(target_os = "linux")]
use backend::Container;
#[cfg(target_os = "linux")]
use flavor::Flavor;
use std::sync::Arc;

/// The registration of Docker.
#[cfg(target_os = "linux")]
pub const DOCKER: Driver = Driver {
    id: "docker",
    aliases: &[],
    class: Class::Local,
    isolation: Boundary::Kernel,
    auto_rank: Some(5),
    build: docker,
};

/// The registration of Podman.
#[cfg(target_os = "linux")]
pub const PODMAN: Driver = Driver {
    id: "podman",
    aliases: &[],
    class: Class::Local,
    isolation: Boundary::Kernel,
    auto_rank: Some(6),
    build: podman,
};

/// The registration of Apple's containers. Another system may have a program of that name, which is used when somebody
/// names this backend and is never chosen.
pub const APPLE: Driver = Driver {
    id: "apple",
    aliases: &[],
    class: Class::Local,
    isolation: Boundary::Vm,
    auto_rank: if cfg!(target_os = "macos") { Some(3) } else { None },
    build: apple,
};

/// All of them.
#[cfg(target_os = "linux")]
pub const DRIVERS: [Driver; 3] = [APPLE, DOCKER, PODMAN];
#[cfg(target_os = "macos")]
pub const DRIVERS: [Driver; 1] = [APPLE];

#[expect(clippy::unnecessary_wraps, reason = "the type of every driver's constructor")]
fn apple(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Apple::new(host)))
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "the type of every driver's constructor")]
fn docker(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Container::new(DOCKER.id, Flavor::Docker, host)))
}

#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "the type of every driver's constructor")]
fn podman(host: &Host) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Container::new(PODMAN.id, Flavor::Podman, host)))
}
