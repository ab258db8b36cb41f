//! What goes wrong with engines, through the front door on a real Podman, which each test starts for itself. For root, as
//! [`cli_docker`](../cli_docker.rs) is, whose tests most of these are.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests, outside of #[test] functions"
)]

use agentkernel_testkit::engines::Engine;
use cli_podman::site::Sort;

const ENGINE: Sort = Sort {
    name: "podman",
    variable: "CONTAINER_HOST",
    other: "DOCKER_HOST",
    start: Engine::podman,
    forces_names_only: false,
};

mod cli_podman {
    mod ended;
    #[path = "../cli_docker/faults.rs"]
    mod faults;
    #[path = "../cli_docker/lost.rs"]
    mod lost;
    #[path = "../cli_docker/secrets.rs"]
    mod secrets;
    #[path = "../cli_docker/site.rs"]
    #[expect(dead_code, reason = "the tests of Docker use the rest")]
    pub(crate) mod site;
}
