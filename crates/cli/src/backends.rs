//! The backends of this binary: the only place outside a driver that names one.

use agentkernel_backend::Registry;

/// One line per driver.
pub(crate) fn registry() -> Registry {
    Registry::new(&[agentkernel_native::DRIVER])
}
