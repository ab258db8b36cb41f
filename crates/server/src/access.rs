//! The log of requests: who asked for what, and what became of it. No header, no query and no body is in it.

use std::{fmt, sync::Arc, time::Duration};

/// A request that was answered.
#[derive(Debug)]
pub struct Access<'a> {
    pub method: &'a str,
    /// Fit for a terminal, without what stands behind the `?`.
    pub path: String,
    pub status: u16,
    /// Until the answer's headers; a stream goes on.
    pub took: Duration,
}

/// Where such lines go.
#[derive(Clone)]
pub struct AccessLog(Arc<dyn Fn(&Access<'_>) + Send + Sync>);

impl AccessLog {
    pub fn new(write: impl Fn(&Access<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn write(&self, access: &Access<'_>) {
        (self.0)(access);
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog(..)")
    }
}
