//! What every verb works with.

use crate::{backends, env::Env, printer::Printer, settings::Settings, terminal, traces::Traced};
use agentkernel_engine::{Engine, audit::Audit, memory};
use agentkernel_model::{Error, Result};
use std::future::Future;
use tokio::runtime::Builder;

#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) printer: Printer,
    audit: Audit,
}

impl Context {
    pub(crate) fn new(env: Env, printer: Printer) -> Result<Self> {
        let no_audit = env.no_audit;
        let settings = Settings::gather(env)?;
        let audit = if no_audit { Audit::off() } else { Audit::of(&settings.host) };
        Ok(Self { settings, printer, audit })
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::new(self.settings.host.clone(), backends::registry(), self.settings.facts.clone())
            .with_audit(self.audit.clone())
            .with_image_places(self.settings.image_places.clone())
            .with_gateway_file(self.settings.gateway_file.clone())
    }

    /// That of a server, whose callers have this machine's own network only where its owner says so.
    pub(crate) fn engine_for_callers(&self, may_have_private_network: bool) -> Engine {
        let engine = self.engine().with_runners();
        if may_have_private_network { engine } else { engine.for_callers() }
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
        if let Some(error) = self.audit.take_trouble() {
            self.printer.note(format_args!("not in the audit log: {error}"));
        }
        result
    }

    /// Runs `work`, a server, on threads of its own. Nothing is cloned from this process then, and nobody looks into it.
    pub(crate) fn serve<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        memory::keep_unseen()?;
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io("cannot start the event loop", e))?;
        let result = match Traced::begin(self.printer) {
            Some(traced) => runtime.block_on(traced.serve(work, self.printer)),
            None => runtime.block_on(work),
        };
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
