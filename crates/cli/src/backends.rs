//! The backends of this binary: the only place outside a driver that names one.

use agentkernel_backend::Registry;
use agentkernel_engine::build::Builder;

/// One line per driver.
pub(crate) fn registry() -> Registry {
    let [apple, docker, podman] = agentkernel_container::DRIVERS;
    Registry::new(&[agentkernel_native::DRIVER, apple, docker, podman])
}

/// The engines that `--build` may use, in this order.
pub(crate) const BUILDERS: [Builder; 2] = [
    Builder { program: "docker", local_prefix: "" },
    Builder { program: "podman", local_prefix: "localhost/" },
];
