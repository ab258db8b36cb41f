//! Resource limits, and whether each must hold.

use crate::size::{ByteSize, Cpus};
use serde::{Deserialize, Serialize};

/// A limit and how it came about. `Required` was written by someone: a backend that cannot enforce it refuses the
/// spec. `Default` is a profile's: enforced where that is possible, and shown as not enforced where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit<T> {
    Required(T),
    Default(T),
}

impl<T: Copy> Limit<T> {
    #[must_use]
    pub const fn value(self) -> T {
        match self {
            Self::Required(value) | Self::Default(value) => value,
        }
    }

    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::Required(_))
    }
}

/// Each field is `None` when there is no such limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of all processes together, page cache and writable in-memory file systems included.
    pub memory: Option<Limit<ByteSize>>,
    pub cpus: Option<Limit<Cpus>>,
    /// Processes and threads at once.
    pub pids: Option<Limit<u32>>,
}
