//! A running `agentkernel-testkit-traffic`, which is told what to do line by line.

use crate::{Outcome, bench::proc::kib_field};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Ended when dropped.
#[derive(Debug)]
pub(super) struct Client {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
}

impl Client {
    pub(super) fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take().ok_or("no pipe")?);
        Ok(Self { child, lines: BufReader::new(output), input })
    }

    /// The next line that it says.
    pub(super) fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err("it ended before its answer; what it said is above".into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(super) fn ask(&mut self, what: &str) -> Outcome<String> {
        let input = self.input.as_mut().ok_or("it was told to end")?;
        writeln!(input, "{what}")?;
        input.flush()?;
        self.line().map_err(|e| format!("{what}: {e}").into())
    }

    /// Times that the answer is made of.
    pub(super) fn times(&mut self, what: &str) -> Outcome<Vec<Duration>> {
        let answer = self.ask(what)?;
        let times: Result<Vec<_>, _> =
            answer.split_whitespace().map(|nanos| nanos.parse().map(Duration::from_nanos)).collect();
        Ok(times.map_err(|e| format!("{what}: {answer}: {e}"))?)
    }

    /// What its process holds of memory, in MB. That of `agentkernel run` is the keeper, with the gateway in it.
    pub(super) fn resident_mb(&self) -> Outcome<f64> {
        self.memory_mb("VmRSS:")
    }

    /// The most that it ever held.
    pub(super) fn peak_mb(&self) -> Outcome<f64> {
        self.memory_mb("VmHWM:")
    }

    fn memory_mb(&self, field: &str) -> Outcome<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let kib =
            kib_field(&fs::read_to_string(&path)?, field).ok_or_else(|| format!("{path}: no {field}"))?;
        Ok(kib as f64 * 1024.0 / 1e6)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The end of its input is its end, and that of the sandbox around it.
        drop(self.input.take());
        if let Err(error) = self.child.wait() {
            eprintln!("bench: a client is left behind: {error}");
        }
    }
}
