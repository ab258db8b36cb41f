//! The gateway from outside: an uplink in memory, real servers on loopback.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod dns;
mod flows;
mod life;
mod names;
mod packets;
