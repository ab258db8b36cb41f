//! Clients of MCP that nobody here wrote, from npm, against the built binary: the inspector of the Model Context Protocol, and
//! the command lines of Claude Code, Codex, Gemini and OpenCode after `agentkernel plugin install` wrote what they read.
//! `scripts/packages mcp-clients` has fetched them.
//!
//! They would look for updates, models and packages: the suite runs in a network namespace with nothing but loopback.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]
#![expect(clippy::print_stderr, reason = "a program of its own, whose stderr is its report")]

#[path = "server/http.rs"]
#[expect(dead_code, reason = "the server's own tests use the rest")]
mod http;

#[path = "egress/network.rs"]
mod network;

#[path = "server/world.rs"]
#[expect(dead_code, reason = "the server's own tests use the rest")]
mod world;

mod mcp_clients {
    pub(crate) mod agents;
    pub(crate) mod inspector;
    pub(crate) mod opencode;
    pub(crate) mod packages;
    pub(crate) mod seed;
}

use libtest_mimic::{Arguments, Trial};
use mcp_clients::{agents, inspector, opencode, seed};
use std::process::ExitCode;

/// Each client is a big program that uses more than one processor while it starts.
const AT_A_TIME: usize = 2;

/// A test, by name.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list
        && !network::is_own()
        && let Err(e) = network::enter()
    {
        eprintln!("error: no network of our own: {e}");
        return ExitCode::FAILURE;
    }
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let tests = [agents::TESTS, inspector::TESTS, opencode::TESTS, seed::TESTS].concat();
    let trial = |(name, test): Test| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code()
}
