//! `agentkernel serve` from the outside: the built binary, and clients that know nothing but HTTP. As root with
//! `AGENTKERNEL_TEST_UID` set, everything runs as that user.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

mod server {
    mod agents;
    mod answers;
    mod benchmark;
    mod bodies;
    mod disk;
    mod doors;
    mod files;
    mod http;
    mod image;
    mod lifecycle;
    mod registries;
    mod sockets;
    mod strangers;
    mod streams;
    mod survival;
    mod world;
}
