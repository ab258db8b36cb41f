//! `agentkernel mcp-server` and `/mcp` of `agentkernel serve`, from the outside: the protocol byte by byte, and clients that
//! were written elsewhere. As root with `AGENTKERNEL_TEST_UID` set, everything runs as that user.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

mod mcp {
    mod calls;
    mod client;
    mod elsewhere;
    mod malformed;
    mod sandboxes;
}
