//! Real peers on loopback: what arrives there and what comes back.

mod http1;
mod lab;
