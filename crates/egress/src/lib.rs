//! The gateway: a sandbox has no route of its own, its connections and its DNS questions end here, on the host.
//!
//! `ruleset` decides about connections, requests and names and knows no socket; `flow` takes a connection, `hello` reads
//! whom it says it is for, `web` reads HTTP and opens TLS, `dns` answers questions, `packets` passes on other UDP. This crate knows no backend and no
//! namespace: traffic comes out of an [`Uplink`](agentkernel_backend::Uplink).
#![forbid(unsafe_code)]

#[macro_use]
mod through;

mod buffer;
mod destination;
mod dns;
mod flow;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod hello;
mod judge;
mod limits;
mod machine;
mod observer;
mod packets;
mod patience;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(not(target_os = "linux"))]
#[path = "no_pipe.rs"]
mod pipe;
mod proxy;
mod pump;
mod ranges;
mod reason;
mod refusal;
mod replay;
mod ruleset;
mod shortage;
mod uplink;
mod web;

pub use dns::resolvers::Resolvers;
pub use gateway::{HostGateway, Setup};
pub use limits::Limits;
pub use machine::{is_public, own_addresses};
pub use observer::{Connection, Observer, Outcome, Request};
pub use proxy::ADDRESS as PROXY;
pub use reason::Reason;
pub use shortage::Shortage;
