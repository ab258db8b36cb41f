//! Names for steps that fail in the kernel.

use crate::wire::Fault;
use rustix::io::Errno;

/// Names the step that failed.
pub trait Step<T> {
    /// # Errors
    /// The error, as what was being done.
    fn step(self, what: impl FnOnce() -> String) -> Result<T, Fault>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, what: impl FnOnce() -> String) -> Result<T, Fault> {
        self.map_err(|errno| Fault::new(what(), errno))
    }
}
