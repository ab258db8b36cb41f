//! Real peers on loopback: what arrives there and what comes back.

mod http1;
mod http2;
mod lab;
mod limits;
mod proxy;
mod secrets;
mod smuggling;
mod tls;
mod upgrades;
