//! Pulling from registries that lie, break, refuse and redirect; importing; and the store between all of it.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod auth;
mod bundle;
mod fixture;
mod lies;
mod mirrors;
mod pulls;
mod refusals;
mod server;
mod store;
