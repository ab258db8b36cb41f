//! What every verb works with.

use crate::{backends, env::Env, printer::Printer, settings::Settings, terminal};
use agentkernel_engine::Engine;
use agentkernel_model::{Error, Result};
use std::future::Future;
use tokio::runtime::Builder;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) printer: Printer,
}

impl Context {
    pub(crate) fn new(env: Env, printer: Printer) -> Result<Self> {
        Ok(Self { settings: Settings::gather(env)?, printer })
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.settings.host.clone(), backends::registry(), self.settings.facts.clone())
    }

    /// Runs `work` on this thread. No other thread exists before a backend has cloned its sandbox from this process.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("cannot start the event loop", e))?;
        let result = runtime.block_on(work);
        // A thread that still waits for the caller's input ends with the process.
        runtime.shutdown_background();
        result
    }

    /// Lines for stderr; `remarks` only where a person may be reading.
    pub(crate) fn tell(&self, notes: &[String], remarks: &[String]) {
        let remarks = if terminal::stderr_is_terminal() { remarks } else { &[] };
        for line in notes.iter().chain(remarks) {
            self.printer.note(line);
        }
    }
}
