//! How `run`, `exec` and `attach` end: an exit code, and with `--json` one object.

use crate::{
    args::IoArgs,
    context::Context,
    pump::{Detach, Ended, How, InputFrom, OutputTo, Plan},
    terminal,
};
use agentkernel_backend::Exit;
use agentkernel_model::{
    Error, Kind, Result,
    command::{EnvVar, Stdio},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use std::time::Duration;

/// What a command gets as input and output.
pub(super) fn stdio(io: &IoArgs) -> Stdio {
    if io.tty {
        return Stdio::Terminal(terminal::size());
    }
    if io.no_stdin { Stdio::NoInput } else { Stdio::Pipes }
}

/// The environment that a terminal brings with it, unless the caller wrote its own.
pub(super) fn terminal_env(context: &Context, io: &IoArgs, written: &[EnvVar]) -> Vec<EnvVar> {
    let wanted = io.tty && !written.iter().any(|var| var.key() == "TERM");
    if wanted { context.settings.term.iter().cloned().collect() } else { Vec::new() }
}

/// How the pump connects it.
pub(super) fn plan(io: &IoArgs, json: bool, timeout: Option<Duration>) -> Plan {
    let input = match (io.tty, io.no_stdin) {
        (true, _) => InputFrom::Terminal(Detach::Never),
        (false, true) => InputFrom::Nothing,
        (false, false) => InputFrom::Stdin,
    };
    let output = if json { OutputTo::Memory } else { OutputTo::Caller };
    // Nothing is no limit, as for timeout(1).
    Plan { output, input, timeout: timeout.filter(|t| !t.is_zero()) }
}

/// What a command ran in, for `--json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Surroundings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sandbox: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    pub(super) notes: Vec<String>,
    /// Default limits that are not enforced here.
    pub(super) unenforced: Vec<String>,
}

/// One finished command as programs see it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    exit_code: u8,
    /// The number of the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    out_of_memory: bool,
    timed_out: bool,
    stdout: String,
    stdout_encoding: &'static str,
    stderr: String,
    stderr_encoding: &'static str,
    #[serde(flatten)]
    surroundings: &'a Surroundings,
}

/// The bytes as text, or in base64 (RFC 4648) where they are none.
fn encode(bytes: Vec<u8>) -> (String, &'static str) {
    match String::from_utf8(bytes) {
        Ok(text) => (text, "utf8"),
        Err(e) => (STANDARD.encode(e.as_bytes()), "base64"),
    }
}

/// Tells how a command ended, and returns its exit code.
///
/// # Errors
/// [`Kind::Timeout`] when its time was over and nobody reads JSON.
pub(super) fn finish(context: &Context, ended: Ended, surroundings: Option<&Surroundings>) -> Result<u8> {
    let Some(surroundings) = surroundings else { return finish_text(context, ended.how) };
    let (signal, out_of_memory) = match ended.how {
        How::Exit(Exit::Signal { number, out_of_memory }) => (Some(number), out_of_memory),
        _ => (None, false),
    };
    let exit_code = exit_code(ended.how);
    let (stdout, stdout_encoding) = encode(ended.stdout);
    let (stderr, stderr_encoding) = encode(ended.stderr);
    context.printer.json(&Report {
        exit_code,
        signal,
        out_of_memory,
        timed_out: matches!(ended.how, How::TimedOut(_)),
        stdout,
        stdout_encoding,
        stderr,
        stderr_encoding,
        surroundings,
    })?;
    Ok(exit_code)
}

fn finish_text(context: &Context, how: How) -> Result<u8> {
    match how {
        How::TimedOut(limit) => {
            return Err(Error::new(Kind::Timeout, format!("the command was ended after {}", seconds(limit)))
                .with_hint("give it more time with --timeout"));
        }
        How::Exit(Exit::Signal { out_of_memory: true, .. }) => {
            context.printer.note("the memory limit of the sandbox ended the command; raise it with --memory");
        }
        How::Exit(_) | How::Interrupted(_) => {}
        How::Detached => context.printer.note(
            "detached: what ran goes on inside, and nobody can attach to it again; 'agentkernel attach' opens a new shell",
        ),
    }
    Ok(exit_code(how))
}

fn exit_code(how: How) -> u8 {
    match how {
        How::Exit(exit) => exit.code(),
        How::TimedOut(_) => Kind::Timeout.exit_code(),
        How::Interrupted(signal) => Exit::Signal { number: signal.number(), out_of_memory: false }.code(),
        How::Detached => 0,
    }
}

fn seconds(limit: Duration) -> String {
    match limit.as_secs() {
        1 => "1 second".to_owned(),
        n => format!("{n} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentkernel_model::command::Signal;

    #[test]
    fn codes_are_those_of_shells() {
        for (how, code) in [
            (How::Exit(Exit::Code(3)), 3),
            (How::Exit(Exit::Signal { number: 13, out_of_memory: false }), 141),
            (How::TimedOut(Duration::from_secs(1)), 124),
            (How::Interrupted(Signal::Interrupt), 130),
            (How::Detached, 0),
        ] {
            assert_eq!(exit_code(how), code, "{how:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        assert_eq!(encode(b"h\xc3\xa9\n".to_vec()), ("hé\n".to_owned(), "utf8"));
        assert_eq!(encode(b"\xff\x00".to_vec()), ("/wA=".to_owned(), "base64"));
    }
}
