//! Steps of what the engine does, as spans of a trace. Where nothing is recorded they cost one look at a flag.

use agentkernel_backend::{Exit, Process, process::ExitFuture};
use agentkernel_model::{
    Result,
    command::{EnvVar, ExecSpec},
};
use agentkernel_trace as trace;
use tracing::{Instrument as _, Span};

/// `$work` as a step with a name.
macro_rules! step {
    ($name:literal, $work:expr) => {
        $crate::step::recorded($crate::step::span!($name), $work)
    };
}

/// A step of that name, and what may be known of it later.
macro_rules! span {
    ($name:literal) => {
        tracing::info_span!(
            $name,
            agentkernel.backend = tracing::field::Empty,
            process.exit.code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        )
    };
}

pub(crate) use {span, step};

/// Does `work` within `span`, which has the kind of its error.
pub(crate) async fn recorded<T>(span: Span, work: impl Future<Output = Result<T>>) -> Result<T> {
    if span.is_disabled() {
        return work.await;
    }
    let done = work.instrument(span.clone()).await;
    note(&span, &done);
    done
}

fn note<T>(span: &Span, done: &Result<T>) {
    if let Err(error) = done {
        span.record("error.type", error.kind().as_str());
    }
}

/// `process`, of which `span` lasts until its end.
pub(crate) fn until_end(span: Span, process: Process) -> Process {
    if span.is_disabled() {
        return process;
    }
    Process { exit: Box::pin(ended(span, process.exit)), ..process }
}

async fn ended(span: Span, exit: ExitFuture) -> Result<Exit> {
    let ended = exit.instrument(span.clone()).await;
    note(&span, &ended);
    if let Ok(exit) = &ended {
        span.record("process.exit.code", i64::from(exit.code()));
    }
    ended
}

/// Has `command` find in its environment that it is part of `span`, unless its caller or `given` says of what it is.
pub(crate) fn carry_in(span: &Span, command: &mut ExecSpec, given: &[EnvVar]) {
    let Some(context) = trace::context(span) else { return };
    let is_said = command.env.iter().chain(given).any(|variable| variable.key() == trace::VARIABLE);
    if let (false, Ok(variable)) = (is_said, EnvVar::new(trace::VARIABLE, &context.to_string())) {
        command.env.push(variable);
    }
}
