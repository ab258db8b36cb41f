//! Tests of the front door: the built `agentkernel` as a person calls it. As root with `AGENTKERNEL_TEST_UID` set,
//! everything runs as that user.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside of #[test] functions"
)]

mod cli {
    mod agents;
    mod audit;
    mod backends;
    mod clean;
    mod completions;
    mod copies;
    mod crash;
    mod daemon;
    mod detached;
    mod errors;
    mod github;
    mod guard;
    mod images;
    mod lifecycle;
    mod machine;
    mod network;
    mod plugins;
    mod policy;
    mod projects;
    mod proxies;
    mod pulls;
    mod registries;
    mod run;
    mod secrets;
    mod secrets_run;
    mod seed;
    mod shortage;
    mod streams;
    mod volumes;
}
