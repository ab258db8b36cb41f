//! One command of a test: how it is called, and what came of it.

use super::activity::Activity;
use crate::proc;
use std::{
    fmt,
    io::Write as _,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A command that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the end of the output may come after the end of the command: both are the same event of the kernel.
const DRAIN: Duration = Duration::from_secs(5);

/// A command that can be run. It has no input unless some is given.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    shown: String,
    input: Option<Vec<u8>>,
    deadline: Duration,
}

impl Invocation {
    pub(super) fn new(
        program: &Path,
        arguments: &[&str],
        env: &[(&str, PathBuf)],
        directory: &Path,
        user: Option<u32>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(env.iter().map(|(k, v)| (k, v))).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(uid) = user {
            // Without the supplementary groups of root as well: std drops them when the uid changes.
            command.uid(uid).gid(uid);
        }
        let shown = format!("{} {}", program.display(), arguments.join(" "));
        Self { command, shown, input: None, deadline: DEADLINE }
    }

    /// Sets a variable of the caller's environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Takes a variable out of the caller's environment.
    #[must_use]
    pub fn without_env(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Adds arguments that are not text.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Bytes for stdin, which ends after them.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Connects stdin to something else, such as a file.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Connects stdout to something else; [`Finished::stdout`] is empty then.
    #[must_use]
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started, or does not end in time: it is killed then.
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Starts it. Its input, where some was given, is written by a thread.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut self) -> Live {
        let activity = Activity::begin();
        let begun = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("cannot start '{}': {e}", self.shown));
        let handle = proc::handle(i32::try_from(child.id()).unwrap_or(0));
        let stdin = child.stdin.take();
        let (stdin, writer) = match (self.input, stdin) {
            (Some(bytes), Some(mut pipe)) => {
                // A command that does not read its input to the end breaks the pipe, which is its right.
                let write = move || drop(pipe.write_all(&bytes));
                (None, Some(std::thread::spawn(write)))
            }
            (_, stdin) => (stdin, None),
        };
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Live {
            child,
            handle,
            stdin,
            writer,
            stdout,
            stderr,
            shown: self.shown,
            begun,
            deadline: self.deadline,
            activity,
        }
    }
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a fault is what the test sees; a test that gave up does not receive.
        let _end = pipe.read_to_end(&mut bytes);
        let _unheard = send.send(bytes);
    });
    receive
}

/// A command that runs.
#[derive(Debug)]
pub struct Live {
    child: Child,
    handle: Option<std::os::fd::OwnedFd>,
    /// Its input, where it was connected to a pipe and no bytes were given.
    pub stdin: Option<ChildStdin>,
    writer: Option<JoinHandle<()>>,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Option<Receiver<Vec<u8>>>,
    shown: String,
    begun: Instant,
    deadline: Duration,
    activity: Activity,
}

impl Live {
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Sends it a signal; one that has ended is left alone.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(handle) = &self.handle {
            let _ended = rustix::process::pidfd_send_signal(handle, signal);
        }
    }

    /// Waits for its end, at most for `time`; whether it has ended.
    ///
    /// # Panics
    /// When poll(2) fails.
    #[must_use]
    pub fn ends_within(&self, time: Duration) -> bool {
        let Some(handle) = &self.handle else { return true };
        proc::wait_until(handle, Instant::now() + time)
            .unwrap_or_else(|e| panic!("cannot wait for '{}': {e}", self.shown))
    }

    /// Waits for its end and takes its output.
    ///
    /// # Panics
    /// When it does not end in time: it is killed then.
    pub fn finish(mut self) -> Finished {
        drop(self.stdin.take());
        let in_time = self.ends_within(self.deadline.saturating_sub(self.begun.elapsed()));
        if !in_time {
            self.signal(rustix::process::Signal::KILL);
        }
        let status = self.child.wait().unwrap_or_else(|e| panic!("cannot wait for '{}': {e}", self.shown));
        let elapsed = self.begun.elapsed();
        // A supervisor that still held the streams would hang its caller's `$(...)`.
        let take = |from: Option<Receiver<Vec<u8>>>| {
            let received = from.map_or_else(|| Ok(Vec::new()), |f| f.recv_timeout(DRAIN));
            received
                .unwrap_or_else(|_| panic!("'{}' has ended and somebody still holds its output", self.shown))
        };
        let (stdout, stderr) = (take(self.stdout.take()), take(self.stderr.take()));
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
        drop(self.activity);
        let finished = Finished {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
            elapsed,
            shown: self.shown,
        };
        assert!(in_time, "it did not end within {} s: {finished}", self.deadline.as_secs());
        finished
    }
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Finished {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
    shown: String,
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
        writeln!(
            f,
            "{}\n  code {:?} signal {:?} after {:?}",
            self.shown, self.code, self.signal, self.elapsed
        )?;
        writeln!(f, "  stdout: {:?}", text(&self.stdout))?;
        write!(f, "  stderr: {:?}", text(&self.stderr))
    }
}

impl Finished {
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert!(self.code == Some(code), "want exit code {code}: {self}");
        self
    }

    /// A failure of agentkernel itself: 125, or 2 for a command line that cannot be read.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn our_failure(self) -> Self {
        assert!(matches!(self.code, Some(2 | 125)), "want exit code 125 or 2: {self}");
        self
    }

    /// # Panics
    /// When it did not succeed.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// # Panics
    /// When stdout is something else.
    #[track_caller]
    pub fn prints(self, text: impl AsRef<[u8]>) -> Self {
        assert!(
            self.stdout == text.as_ref(),
            "want stdout {:?}: {self}",
            String::from_utf8_lossy(text.as_ref())
        );
        self
    }

    /// Nothing of ours on either stream.
    ///
    /// # Panics
    /// When stderr has something.
    #[track_caller]
    pub fn silent_stderr(self) -> Self {
        assert!(self.stderr.is_empty(), "want nothing on stderr: {self}");
        self
    }

    /// One error of ours: one `error:` line that holds each of `words`, a hint below it, nothing on stdout, and
    /// nothing on stderr that could drive a terminal.
    ///
    /// # Panics
    /// When it is not so.
    #[track_caller]
    pub fn error_with_hint(self, words: &[&str]) -> Self {
        let text = self.err();
        let mut lines = text.lines().filter(|l| !l.starts_with("note: "));
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("error: "), "want an 'error: ' line: {self}");
        for word in words {
            assert!(first.contains(word), "want '{word}' in the error: {self}");
        }
        let hints: Vec<&str> = lines.collect();
        let all_hints = !hints.is_empty() && hints.iter().all(|l| l.trim_start().starts_with("hint: "));
        assert!(all_hints, "want hint lines after one error line: {self}");
        assert!(self.stdout.is_empty(), "want nothing on stdout: {self}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "control characters on stderr: {self}");
        self
    }

    /// Stdout as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("stdout is no JSON ({e}): {self}"))
    }
}
