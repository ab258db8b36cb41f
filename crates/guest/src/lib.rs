//! What runs inside a sandbox beside its commands, and how the host talks to it.
//!
//! Where to look: `service` is the loop of a sandbox's process 1, `command` confines and executes each command behind
//! `walls`, `agent` is process 1 where an engine made the sandbox, `meant` how it knows what that mounted; `wire` is the protocol. On the host, `client` is the
//! way in, `process` a command as callers see it, `uplink` the sandbox's traffic; `link` carries it all where no descriptor can be passed. This crate may use `unsafe`; it does so
//! in `sys` and at the forks.
#![cfg(target_os = "linux")]

pub mod agent;
pub mod client;
pub mod command;
pub mod conversation;
mod datagram;
pub mod defaults;
pub mod entries;
pub mod fault;
mod fileaccess;
pub mod files;
pub mod link;
pub mod meant;
pub mod memory;
pub mod mutation;
mod netlink;
pub mod network;
pub mod process;
mod seccomp;
pub mod service;
pub mod sys;
mod terminal;
mod transfer;
pub mod uplink;
pub mod walls;
pub mod wire;
