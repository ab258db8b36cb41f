//! The gateway: a sandbox has no route of its own, its connections and its DNS questions end here, on the host.
//!
//! [`Policy`] decides about one address and knows no socket; [`HostGateway`] does the work. This crate knows no
//! backend and no namespace: traffic comes out of an [`Uplink`](agentkernel_backend::Uplink).
#![forbid(unsafe_code)]

mod dns;
mod flow;
mod gateway;
mod limits;
mod machine;
mod observer;
mod patience;
mod policy;
mod pump;
mod ranges;
mod uplink;
mod web;

pub use dns::resolvers::Resolvers;
pub use gateway::{HostGateway, Setup};
pub use limits::Limits;
pub use machine::own_addresses;
pub use observer::{Connection, Observer, Outcome, Request};
pub use policy::{Decision, Policy, Reason};
