//! Traces of this process, where the environment asks for some. Where it does not, that is all that is found out.

use crate::{env, printer::Printer};
use agentkernel_model::{Error, Result};
use agentkernel_trace::{self as trace, Context, Exporter, Outbox, Recorder, Settings, Trouble};
use std::sync::Arc;
use tokio::{runtime::Builder, sync::oneshot};
use tracing::{Span, field};
use zeroize::Zeroizing;

/// Does `work`, a command of a person's, as a span of that name.
pub(crate) fn command(name: &str, printer: Printer, work: impl FnOnce() -> Result<u8>) -> Result<u8> {
    let Some(traced) = Traced::begin(printer) else { return work() };
    let span = tracing::info_span!(
        "command",
        otel.name = name,
        process.exit.code = field::Empty,
        error.type = field::Empty
    );
    if let Some(parent) = env::traced().as_deref().and_then(Context::parse) {
        trace::adopt(&span, parent);
    }
    let done = span.in_scope(work);
    note(&span, &done);
    drop(span);
    traced.flush(printer);
    done
}

fn note(span: &Span, done: &Result<u8>) {
    match done {
        Ok(code) => span.record("process.exit.code", i64::from(*code)),
        Err(error) => span.record("error.type", error.kind().as_str()),
    };
}

/// A part of a command: what the span `$name` is of.
macro_rules! part {
    ($name:literal, $work:expr) => {
        tracing::info_span!($name).in_scope(|| $work)
    };
}

pub(crate) use part;

/// What is recorded, and where it is to go.
pub(crate) struct Traced {
    settings: Settings,
    outbox: Arc<Outbox>,
}

impl Traced {
    /// Has this process recorded from now on; `None` where nobody wants that, or it cannot be, which is said.
    pub(crate) fn begin(printer: Printer) -> Option<Self> {
        if !trace::is_wanted(env::has_telemetry) {
            return None;
        }
        match Settings::read(env::telemetry) {
            Ok(Some(settings)) => {
                let outbox = Arc::new(Outbox::new(Outbox::ROOM));
                Recorder::new(settings.sampler, Arc::clone(&outbox)).install();
                Some(Self { settings, outbox })
            }
            Ok(None) => None,
            Err(trouble) => {
                printer.note(format_args!("nothing is traced: {trouble}"));
                None
            }
        }
    }

    /// What sends it. Only now are secrets read: nothing must be cloned from this process any more.
    ///
    /// # Errors
    /// What is wrong with the environment.
    pub(crate) fn exporter(self) -> Result<Exporter, Trouble> {
        let secret = |name: &str| env::telemetry(name).map(Zeroizing::new);
        Exporter::new(self.settings, self.outbox, secret)
    }

    /// Does `work`, a server, and sends meanwhile what comes of it.
    pub(crate) async fn serve<T>(self, work: impl Future<Output = T>, printer: Printer) -> T {
        let exporter = match self.exporter() {
            Ok(exporter) => exporter,
            Err(trouble) => {
                printer.note(format_args!("traces are not sent: {trouble}"));
                return work.await;
            }
        };
        let (over, end) = oneshot::channel::<()>();
        let sending = tokio::spawn(async move {
            let end = async { drop(end.await) };
            exporter.serve(end, |why| printer.note(format_args!("traces are not sent: {why}"))).await;
        });
        let done = work.await;
        drop(over);
        // It ends by itself: each of its requests does.
        let _ = sending.await;
        done
    }

    /// Sends everything. What does not arrive is lost, and that is said.
    fn flush(self, printer: Printer) {
        let sent = || -> Result<(), String> {
            let exporter = self.exporter().map_err(|trouble| trouble.to_string())?;
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| Error::io("cannot start the event loop", e).to_string())?;
            let sent = runtime.block_on(exporter.flush());
            runtime.shutdown_background();
            sent
        };
        if let Err(why) = sent() {
            printer.note(format_args!("traces were not sent: {why}"));
        }
    }
}
