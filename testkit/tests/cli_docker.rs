//! Tests of the front door on a real Docker, which each test starts for itself. For root: elsewhere nothing is tested here.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside of #[test] functions"
)]

use agentkernel_testkit::engines::Engine;
use cli_docker::site::Sort;

const ENGINE: Sort = Sort {
    name: "docker",
    variable: "DOCKER_HOST",
    other: "CONTAINER_HOST",
    start: Engine::docker,
    forces_names_only: true,
};

mod cli_docker {
    mod cleaning;
    mod detached;
    mod ended;
    mod faults;
    mod lost;
    mod pool;
    mod remapped;
    mod remote;
    mod secrets;
    pub(crate) mod site;
    mod users;
}
