//! Commands as callers see them: the pipes, the conversation with init that started them, and how they ended.

use crate::{
    conversation::Conversation,
    wire::{Exec, Fault, Reply, Request, StartFault},
};
use agentkernel_backend::{ByteSink, ByteSource, Control, Exit};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Signal, Stdio, TerminalSize},
    text::printable,
};
use rustix::{
    fd::OwnedFd,
    process::{Gid, Uid},
};
use std::sync::Arc;

/// The caller's and the command's ends of its streams.
#[derive(Debug)]
pub struct Pipes {
    pub stdin: ByteSink,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// The command's ends: stdin, stdout, stderr.
    pub inside: [OwnedFd; 3],
}

impl Pipes {
    /// `None` for a terminal, which is made inside. `owner` is whom the pipes are given to, where that is possible from
    /// here.
    pub fn new(stdio: Stdio, owner: Option<(u32, u32)>) -> Result<Option<Self>> {
        let failed = |e: rustix::io::Errno| Error::io("cannot make a pipe", e.into());
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed);
        let (stdin, inside) = match stdio {
            Stdio::Terminal(_) => return Ok(None),
            Stdio::NoInput => (ByteSink::Closed, pipe()?.0),
            Stdio::Pipes => {
                let (read, write) = pipe()?;
                (ByteSink::Fd(write), read)
            }
        };
        let ((stdout, stdout_inside), (stderr, stderr_inside)) = (pipe()?, pipe()?);
        let inside = [inside, stdout_inside, stderr_inside];
        // A command may open its streams again by name (/dev/stdout), and the kernel then asks who owns the pipe.
        if let Some((uid, gid)) = owner {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            inside.iter().try_for_each(|end| rustix::fs::fchown(end, uid, gid)).map_err(failed)?;
        }
        Ok(Some(Self { stdin, stdout, stderr, inside }))
    }
}

/// Waits for the terminal of a command and makes it both of its streams.
pub async fn terminal(conversation: &Conversation, exec: &Exec) -> Result<(ByteSink, ByteSource)> {
    match conversation.recv().await? {
        Some(Reply::Terminal) => {
            let controller = conversation.take_fd()?;
            let copy = controller.try_clone().map_err(|e| Error::io("cannot duplicate a terminal", e))?;
            Ok((ByteSink::Fd(copy), ByteSource::Fd(controller)))
        }
        other => Err(unexpected(other, exec)),
    }
}

/// The next message about the end of the command. Init ending without one means that it was killed, by the kernel when
/// memory ran out or by somebody outside.
pub async fn ended(
    conversation: &Conversation,
    exec: &Exec,
    out_of_memory: &(impl Fn() -> bool + Sync),
) -> Result<Exit> {
    end(conversation.recv().await?, exec, out_of_memory)
}

/// What `reply` says of the end of the command.
pub fn end(reply: Option<Reply>, exec: &Exec, out_of_memory: &(impl Fn() -> bool + Sync)) -> Result<Exit> {
    match reply {
        Some(Reply::Exited { code }) => Ok(Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        Some(Reply::Signaled { number, out_of_memory: seen_inside }) => {
            let out_of_memory = number == libc::SIGKILL && (seen_inside || out_of_memory());
            Ok(Exit::Signal { number, out_of_memory })
        }
        None => Ok(Exit::Signal { number: libc::SIGKILL, out_of_memory: out_of_memory() }),
        other => Err(unexpected(other, exec)),
    }
}

/// The error that a reply which is no answer stands for.
pub fn unexpected(reply: Option<Reply>, exec: &Exec) -> Error {
    match reply {
        None => Error::new(Kind::Conflict, "the sandbox ended before it was complete"),
        Some(Reply::NotStarted(fault)) => not_started(&fault, exec),
        Some(Reply::Failed(fault) | Reply::Refused(fault)) => set_up_failed(&fault),
        Some(Reply::Version { version }) => Error::new(
            Kind::Conflict,
            format!("the sandbox was started by another version of agentkernel (protocol {version})"),
        )
        .with_hint("stop and start the sandbox"),
        Some(other) => Error::internal(format!("the sandbox answered {other:?}")),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        set_up_failed(&fault)
    }
}

/// A step of making a sandbox failed in the kernel.
pub fn set_up_failed(fault: &Fault) -> Error {
    let message = format!("cannot {}", printable(&fault.what));
    let no_namespaces = matches!(fault.errno, libc::EPERM | libc::EACCES | libc::ENOSPC | libc::EUSERS)
        && fault.what.contains("namespace");
    if no_namespaces {
        return Error::new(Kind::Unavailable, message)
            .with_source(fault.io_error())
            .with_hint("this machine does not let you make user namespaces; see 'agentkernel doctor'");
    }
    if fault.errno == libc::ESTALE {
        return Error::new(Kind::Conflict, message).with_hint(
            "on this machine something took the place of what is mounted while the sandbox started: see what is there now",
        );
    }
    if fault.errno == libc::ELOOP {
        return Error::new(Kind::Conflict, message).with_source(fault.io_error()).with_hint(
            "a link of the image or of an earlier command stands where something is mounted; links are not followed here",
        );
    }
    Error::io(message, fault.io_error())
}

fn not_started(fault: &StartFault, exec: &Exec) -> Error {
    let program = printable(exec.argv.first().map_or("", String::as_str));
    match fault {
        StartFault::NotFound => {
            Error::new(Kind::CommandNotFound, format!("command '{program}' was not found in the sandbox"))
                .with_hint("name an image that has it with --image, or give the full path")
        }
        StartFault::NotRunnable(errno) => {
            Error::new(Kind::NotRunnable, format!("command '{program}' cannot be executed in the sandbox"))
                .with_source(std::io::Error::from_raw_os_error(*errno))
                .with_hint("check its permissions and format; a script needs a '#!' line")
        }
        StartFault::Workdir(errno) => Error::invalid(format!(
            "working directory '{}' cannot be entered in the sandbox",
            printable(&exec.workdir)
        ))
        .with_source(std::io::Error::from_raw_os_error(*errno))
        .with_hint("name a directory that exists inside with --workdir"),
        StartFault::Other(fault) => set_up_failed(fault),
    }
}

/// Signals and sizes go over the command's own conversation.
#[derive(Debug)]
pub struct RemoteControl(pub Arc<Conversation>);

impl Control for RemoteControl {
    fn signal(&self, signal: Signal) -> Result<()> {
        ignore_gone(self.0.send(&Request::Signal(signal.number()), &[]))
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        ignore_gone(self.0.send(&Request::SignalGroup(signal.number()), &[]))
    }

    fn resize(&self, size: TerminalSize) -> Result<()> {
        ignore_gone(self.0.send(&Request::Resize { rows: size.rows, columns: size.columns }, &[]))
    }
}

fn ignore_gone(sent: Result<()>) -> Result<()> {
    match sent {
        Err(e) if e.kind() == Kind::Conflict => Ok(()),
        other => other,
    }
}
