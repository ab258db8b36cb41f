//! The embedded sandbox: Linux namespaces, control groups, seccomp, Landlock and overlay file systems, with no daemon and
//! no root needed.
//!
//! Where to look: `plan` decides everything on the host side, `launch` forks, `init` is process 1 inside, `root` builds
//! its file system, `sandbox` the host's handle. Commands, init's loop and the protocol are the guest crate's, which other
//! drivers have in common with this one. This crate may use `unsafe`; it does so in `sys` and at the forks.
#![cfg(target_os = "linux")]

mod backend;
mod cgroup;
mod devices;
mod idmap;
mod init;
mod kernelfs;
mod landlock;
mod launch;
mod layers;
mod mounts;
mod plan;
mod probe;
mod purge;
mod root;
mod runs;
mod sandbox;
mod skeleton;
mod sources;
mod sys;

pub use backend::DRIVER;

use agentkernel_guest::{
    client, command, conversation, defaults, files, mutation, network, process, service, uplink, walls, wire,
};
