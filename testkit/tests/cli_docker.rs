//! Tests of the front door on a real Docker, which each test starts for itself. For root: elsewhere nothing is tested here.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside of #[test] functions"
)]

mod cli_docker {
    mod cleaning;
    mod detached;
    mod faults;
    mod lost;
    mod pool;
    mod remapped;
    mod remote;
    mod secrets;
    mod site;
    mod users;
}
