//! `agentkernel runner`: the process that serves one run of a server. Started by the engine, not by people: it needs
//! nothing of what the other verbs gather first, and all that it does is on the way of a request.

use crate::backends;
use agentkernel_model::{Error, Result};
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;
use tokio::runtime::Builder;

/// Serves one run, or ends when nothing is wanted of it.
pub(crate) fn serve() -> Result<u8> {
    // What whoever started the server left open in it is nothing to a run.
    #[cfg(target_os = "linux")]
    agentkernel_guest::sys::close_all_except(&[
        std::io::stdin().as_fd(),
        std::io::stdout().as_fd(),
        std::io::stderr().as_fd(),
    ]);
    // One thread: process 1 of a sandbox is cloned off this process.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::io("cannot start the event loop", e))?;
    let served = runtime.block_on(agentkernel_engine::runner::serve(backends::registry()));
    // A thread that still waits for something ends with the process.
    runtime.shutdown_background();
    served.map(|()| 0)
}
