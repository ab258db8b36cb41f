//! A command's output on its way to an agent: both ends of it as the result, and the newest as progress.

use super::{
    answer::Answer,
    clip::{self, Clip},
    progress::Reporter,
};
use crate::execution::{self, Parts};
use agentkernel_engine::process::{ByteSource, Exit, Process};
use agentkernel_model::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

/// How much is read at once.
const CHUNK: usize = 32 * 1024;

/// A command that ran.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CommandOutput {
    /// 0 is success; 128 and the signal's number for a command that a signal ended; none for one that was out of time.
    exit_code: Option<u8>,
    /// Both ends of it, where it is longer than 16,000 bytes.
    stdout: String,
    /// As stdout.
    stderr: String,
    /// How many bytes it wrote to standard output.
    stdout_bytes: u64,
    stderr_bytes: u64,
    /// Whether bytes are left out of stdout or stderr.
    truncated: bool,
    /// It was ended because its time was over.
    timed_out: bool,
    /// The memory limit of the sandbox ended it.
    out_of_memory: bool,
    /// The number of the signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    /// What it ran in.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    /// What should be known about how it ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// What a command ran in, where that was decided for it.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) image: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) notes: Vec<String>,
}

/// Gives `input` to the command, follows what it writes, and waits for its end. Dropped, it ends the command.
///
/// # Errors
/// Those of the command's start, and when its output cannot be read.
pub(super) async fn follow(
    process: Process,
    input: Vec<u8>,
    timeout: Option<Duration>,
    reporter: &Reporter,
    surroundings: Surroundings,
) -> Result<Answer> {
    let Parts { stdin, stdout, stderr, control: _control, exit, leash } = Parts::from(process);
    let (mut of_stdout, mut of_stderr) = (Clip::default(), Clip::default());
    let work = async {
        tokio::try_join!(
            read(stdout, &mut of_stdout, reporter),
            read(stderr, &mut of_stderr, reporter),
            execution::feed(stdin, input)
        )?;
        exit.await
    };
    let limit = timeout.unwrap_or(Duration::MAX);
    let ended = match tokio::time::timeout(limit, work).await {
        Ok(exit) => Some(exit?),
        Err(_) => None,
    };
    match ended {
        Some(_) => leash.loose(),
        None => drop(leash),
    }
    Ok(told(&of_stdout, &of_stderr, ended, limit, surroundings))
}

async fn read(source: ByteSource, clip: &mut Clip, reporter: &Reporter) -> Result<()> {
    let Some(mut reader) = source.into_reader()? else { return Ok(()) };
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = reader.read(&mut buffer).await;
        match read.map_err(|e| Error::io("cannot read a command's output", e))? {
            0 => return Ok(()),
            length => {
                clip.push(&buffer[..length]);
                reporter.output(&buffer[..length]);
            }
        }
    }
}

/// Success is the output alone; after a failure a last line says how it failed.
fn told(
    stdout: &Clip,
    stderr: &Clip,
    ended: Option<Exit>,
    limit: Duration,
    surroundings: Surroundings,
) -> Answer {
    let (signal, out_of_memory) = match ended {
        Some(Exit::Signal { number, out_of_memory }) => (Some(number), out_of_memory),
        _ => (None, false),
    };
    let exit_code = ended.map(Exit::code);
    let output = CommandOutput {
        exit_code,
        stdout: stdout.text(),
        stderr: stderr.text(),
        stdout_bytes: stdout.total(),
        stderr_bytes: stderr.total(),
        truncated: stdout.is_cut() || stderr.is_cut(),
        timed_out: ended.is_none(),
        out_of_memory,
        signal,
        image: surroundings.image,
        backend: surroundings.backend,
        notes: surroundings.notes,
    };
    let text = clip::merged(stdout, stderr).text();
    if exit_code == Some(0) {
        let text = if text.is_empty() { "(no output)".to_owned() } else { text };
        return Answer::of_command(text, &output);
    }
    let why = match exit_code {
        None => execution::timed_out(limit).to_string(),
        Some(_) if out_of_memory => {
            "the command was ended because the sandbox's memory was used up; more is given with memory_mb"
                .to_owned()
        }
        Some(code) => format!("the command exited with code {code}"),
    };
    let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Answer::of_command(format!("{text}{line_end}Error: {why}"), &output).of_failure()
}
