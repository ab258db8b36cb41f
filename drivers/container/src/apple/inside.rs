//! `container exec`: commands, and the scripts by which everything else is done inside.

use super::{
    answers,
    defaults::{Filled, env_file},
    mark::{self, Mark},
    marks,
    program::{self, Answer, MAX_SAID, Program, QUICK, SLOW},
    scripts,
    terminal::Terminal,
};
use crate::places::Place;
use agentkernel_backend::{ByteSink, ByteSource};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Signal, Stdio as Streams, User},
    id::SandboxId,
    text::printable,
};
use std::{
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
};
use tempfile::NamedTempFile;
use tokio::process::Child;

/// The way into one running sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) program: Program,
    /// The container's.
    pub(crate) name: String,
    /// A private directory of the sandbox.
    place: PathBuf,
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The command line that waits for it.
    pub(crate) child: Child,
    /// Its number inside.
    pub(crate) process: String,
    pub(crate) user: User,
    /// Where its terminal is resized.
    pub(crate) terminal: Option<OwnedFd>,
}

/// What a caller has of it.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub(crate) stdin: ByteSink,
    pub(crate) stdout: ByteSource,
    pub(crate) stderr: ByteSource,
}

/// The command line for a command that has not begun: nobody wants the one when nobody waits for the other.
struct Unbegun(Option<Child>);

impl Unbegun {
    fn begun(mut self) -> Result<Child> {
        self.0.take().ok_or_else(|| Error::internal("a command began twice"))
    }
}

impl Drop for Unbegun {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.start_kill();
        }
    }
}

/// Which streams of ours the command line gets.
struct Ends {
    stdin: Stdio,
    stdout: Stdio,
    stderr: Stdio,
    input: ByteSink,
    /// Where nothing but the command itself writes before its report.
    output: Option<OwnedFd>,
    /// Where the report comes.
    reports: OwnedFd,
    terminal: Option<OwnedFd>,
}

impl Inside {
    pub(crate) fn new(program: Program, id: SandboxId, place: &Place) -> Self {
        Self { program, name: marks::name(id), place: place.path().to_owned() }
    }

    /// Runs `command` and waits until it has begun.
    ///
    /// # Errors
    /// [`Kind::CommandNotFound`] and [`Kind::NotRunnable`]; [`Kind::Conflict`] when the sandbox does not run; what
    /// `container exec` says.
    pub(crate) async fn begin(&self, command: &Filled) -> Result<(Begun, Pipes)> {
        let nonce = SandboxId::new().to_string();
        let mut flags = Vec::new();
        match command.stdio {
            Streams::NoInput => {}
            Streams::Pipes => flags.push("--interactive".to_owned()),
            Streams::Terminal(_) => flags.extend(answers::words(&["--interactive", "--tty"])),
        }
        let file = self.variables(command)?;
        flags.extend(["--env-file".to_owned(), text(file.path())?]);
        let mut words = self.words(command.user, &command.workdir, flags, scripts::BEGIN, &nonce);
        words.extend(command.words.iter().cloned());
        let ends = Ends::new(command.stdio)?;
        let mut call = self.program.call(&words);
        call.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
        let child = Unbegun(Some(call.spawn().map_err(|e| self.program.not_started(e))?));
        // It holds the other ends.
        drop(call);
        let (mark, reports) = match tokio::time::timeout(SLOW, mark::find(ends.reports, &nonce)).await {
            Ok(found) => found.map_err(|e| Error::io("cannot read what 'container exec' says", e))?,
            Err(_) => return Err(program::late("container exec", SLOW)),
        };
        let process = match mark {
            Mark::Said(said) => started(&said, command)?,
            Mark::Ended(said) => return Err(self.not_begun(&words, &said).await),
        };
        let (stdout, stderr) = match ends.output {
            Some(output) => (ByteSource::Fd(output), ByteSource::Fd(reports)),
            None => (ByteSource::Fd(reports), ByteSource::Empty),
        };
        let begun = Begun { child: child.begun()?, process, user: command.user, terminal: ends.terminal };
        Ok((begun, Pipes { stdin: ends.input, stdout, stderr }))
    }

    async fn not_begun(&self, words: &[String], said: &[u8]) -> Error {
        let kept = said.len().saturating_sub(MAX_SAID);
        let said = program::readable(&said[kept..]);
        match answers::one(&self.program, &self.name).await {
            Ok(Some(container)) if container.is_running() => {
                let error = self.program.refused(words, &said).await;
                error.with_hint("commands are started through '/bin/sh': use an image that has one")
            }
            Ok(_) => Error::new(Kind::Conflict, "the sandbox is not running"),
            Err(error) => error,
        }
    }

    /// `container exec` of a script with the word `nonce` as its own name; what follows are its arguments.
    fn words(&self, user: User, workdir: &str, flags: Vec<String>, script: &str, nonce: &str) -> Vec<String> {
        let mut words = answers::words(&["exec"]);
        words.extend(flags);
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        words.extend(answers::words(&["--uid", &uid, "--gid", &gid, "--workdir", workdir]));
        words.extend(answers::words(&[&self.name, "/bin/sh", "-c", script, nonce]));
        words
    }

    /// A file of the variables, which only this user can read. It goes with its value: when the command has begun it was
    /// read.
    fn variables(&self, command: &Filled) -> Result<NamedTempFile> {
        let failed = |e: io::Error| Error::io("cannot write the variables of a command", e);
        let text = env_file(&command.env)?;
        let mut file = tempfile::Builder::new().prefix("env-").tempfile_in(&self.place).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(file)
    }

    /// The words for a script of our own, as root inside.
    pub(crate) fn script(&self, script: &str, flags: &[&str], arguments: &[&str]) -> Vec<String> {
        let mut words = self.words(User::ROOT, "/", answers::words(flags), script, "agentkernel");
        words.extend(answers::words(arguments));
        words
    }

    /// Sends `signal` to the command, and with a terminal to its foreground processes.
    ///
    /// # Errors
    /// When that cannot be told. A command that has ended is none.
    pub(crate) async fn signal(&self, command: &Begun, signal: Signal) -> Result<Answer> {
        let how = if command.terminal.is_some() { "tty" } else { "pipes" };
        let mut words = self.words(command.user, "/", Vec::new(), scripts::SIGNAL, "agentkernel");
        words.extend(answers::words(&[&command.process, name_of(signal), how]));
        self.program.ask(&words, QUICK).await
    }
}

/// As `kill -s` calls it everywhere.
fn name_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Hangup => "HUP",
        Signal::Interrupt => "INT",
        Signal::Quit => "QUIT",
        Signal::Kill => "KILL",
        Signal::User1 => "USR1",
        Signal::User2 => "USR2",
        Signal::Terminate => "TERM",
        Signal::Continue => "CONT",
        Signal::Stop => "STOP",
    }
}

/// The number of the command inside, from its report.
fn started(said: &str, command: &Filled) -> Result<String> {
    let program = command.words.first().map_or("", String::as_str);
    match said {
        "missing" => Err(Error::new(
            Kind::CommandNotFound,
            format!("there is no command '{}' in the sandbox", printable(program)),
        )
        .with_hint("look for it with 'command -v', or use an image that has it")),
        "refused" => Err(Error::new(
            Kind::NotRunnable,
            format!("'{}' in the sandbox cannot be run", printable(program)),
        )
        .with_hint("make it an executable file")),
        number if number.parse::<u32>().is_ok() => Ok(number.to_owned()),
        _ => Err(Error::internal("the sandbox reported nonsense")),
    }
}

impl Ends {
    fn new(streams: Streams) -> Result<Self> {
        let failed = |e: io::Error| Error::io("cannot make a pipe", e);
        if let Streams::Terminal(size) = streams {
            let Terminal { controller, device } = Terminal::new(size)?;
            let copy = |fd: &OwnedFd| fd.try_clone().map_err(failed);
            return Ok(Self {
                stdin: copy(&device)?.into(),
                stdout: copy(&device)?.into(),
                stderr: device.into(),
                input: ByteSink::Fd(copy(&controller)?),
                output: None,
                terminal: Some(copy(&controller)?),
                reports: controller,
            });
        }
        let (output, stdout) = io::pipe().map_err(failed)?;
        let (reports, stderr) = io::pipe().map_err(failed)?;
        let (stdin, input) = if streams == Streams::Pipes {
            let (stdin, input) = io::pipe().map_err(failed)?;
            (stdin.into(), ByteSink::Fd(input.into()))
        } else {
            (Stdio::null(), ByteSink::Closed)
        };
        Ok(Self {
            stdin,
            stdout: stdout.into(),
            stderr: stderr.into(),
            input,
            output: Some(output.into()),
            reports: reports.into(),
            terminal: None,
        })
    }
}

/// Paths of ours are text; one of a strange home is not worth more than an error.
pub(crate) fn text(path: &std::path::Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::invalid(format!("the path '{}' is not UTF-8", printable(&path.to_string_lossy())))
    })
}
