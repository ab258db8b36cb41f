//! The embedded sandbox: Linux namespaces, control groups, seccomp, Landlock and overlay file systems, with no daemon and
//! no root needed.
//!
//! Where to look: `plan` decides everything on the host side, `launch` forks, `init` is process 1 inside, `root` builds
//! its file system, `command` confines and executes each command, `service` is init's loop, `sandbox` the host's
//! handle. This crate may use `unsafe`; it does so in `sys` and at the forks.
#![cfg(target_os = "linux")]

mod backend;
mod cgroup;
mod command;
mod conversation;
mod devices;
mod fileaccess;
mod files;
mod idmap;
mod init;
mod kernelfs;
mod landlock;
mod launch;
mod layers;
mod mounts;
mod mutation;
mod netlink;
mod network;
mod plan;
mod probe;
mod process;
mod purge;
mod root;
mod runs;
mod sandbox;
mod seccomp;
mod service;
mod skeleton;
mod sources;
mod sys;
mod terminal;
mod transfer;
mod uplink;
mod wire;

pub use backend::DRIVER;
