//! A running sandbox as any process of the host finds it: through the socket that its process 1 listens on.

use crate::{
    conversation::Conversation,
    defaults::Defaults,
    process::{self, Pipes, RemoteControl},
    wire::{Exec, Fault, Reply, Request, VERSION},
};
use agentkernel_backend::{ByteSource, ByteStream, Control as _, Process};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Signal, Stdio},
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The socket's name in its directory.
pub const SOCKET: &str = "init.sock";
/// How long a sandbox may take to open a file or a connection.
const ANSWER: Duration = Duration::from_secs(30);

/// Opens, listens on or connects to the socket `name` in `dir`; through /proc, because a socket's path has 107 bytes at
/// most and a data directory may lie deeper.
pub fn socket_address(dir: &Path, name: &str) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    use rustix::fd::AsRawFd;
    let fd = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", fd.as_raw_fd()))?;
    Ok((fd, address))
}

pub fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// A socket that listens as `name` in `dir`, in place of one that was left there.
///
/// # Errors
/// When the directory cannot be written.
pub fn listener(dir: &Path, name: &str) -> Result<OwnedFd> {
    let failed = |errno: Errno| Error::io("cannot listen for the sandbox", errno.into());
    let (fd, address) = socket_address(dir, name).map_err(failed)?;
    match rustix::fs::unlinkat(&fd, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let socket = new_socket().map_err(failed)?;
    rustix::io::ioctl_fionbio(&socket, true).map_err(failed)?;
    rustix::net::bind(&socket, &address).map_err(failed)?;
    rustix::net::listen(&socket, 128).map_err(failed)?;
    Ok(socket)
}

/// A connection to process 1 of the sandbox whose socket is in `dir`; `None` when it is not running.
///
/// # Errors
/// When that cannot be told.
pub fn connect(dir: &Path) -> Result<Option<OwnedFd>> {
    let failed = |errno: Errno| Error::io("cannot reach the sandbox", errno.into());
    let (_dir, address) = match socket_address(dir, SOCKET) {
        Err(Errno::NOENT) => return Ok(None),
        other => other.map_err(failed)?,
    };
    let socket = new_socket().map_err(failed)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(errno) => Err(failed(errno)),
    }
}

pub(crate) fn not_running() -> Error {
    Error::new(Kind::Conflict, "the sandbox is not running").with_hint("start it first")
}

/// The way into a running sandbox.
#[derive(Debug)]
pub struct Client {
    dir: PathBuf,
    defaults: Defaults,
}

impl Client {
    /// `dir` holds the socket; nothing is connected yet.
    #[must_use]
    pub const fn new(dir: PathBuf, defaults: Defaults) -> Self {
        Self { dir, defaults }
    }

    /// Where its socket is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub const fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// # Errors
    /// [`Kind::Conflict`] when it is not running.
    pub fn check_running(&self) -> Result<()> {
        connect(&self.dir)?.map(drop).ok_or_else(not_running)
    }

    /// Whether somebody answers inside. A socket can be connected to until whoever is behind it has heard of the end.
    pub async fn is_answered(&self) -> bool {
        // Everybody answers a version that there never was.
        matches!(self.query(&Request::Hello { version: 0 }).await, Ok((_, Some(_))))
    }

    pub(crate) fn dial(&self) -> Result<Conversation> {
        let socket = connect(&self.dir)?.ok_or_else(not_running)?;
        let conversation = Conversation::new(socket)?;
        conversation.send(&Request::Hello { version: VERSION }, &[])?;
        Ok(conversation)
    }

    /// Asks for a descriptor.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Result<OwnedFd, Fault>> {
        let (conversation, reply) = self.query(request).await?;
        match reply {
            Some(Reply::Opened) => Ok(Ok(conversation.take_fd()?)),
            Some(Reply::Refused(fault)) => Ok(Err(fault)),
            other => Err(process::unexpected(other, &Exec::none())),
        }
    }

    /// Asks for something that is there at once.
    pub(crate) async fn query(&self, request: &Request) -> Result<(Conversation, Option<Reply>)> {
        let conversation = self.dial()?;
        conversation.send(request, &[])?;
        // The process that answers can be killed or stopped by others inside.
        let reply = tokio::time::timeout(ANSWER, conversation.recv()).await.map_err(|_| {
            Error::new(Kind::Timeout, format!("the sandbox did not answer within {} s", ANSWER.as_secs()))
        })?;
        Ok((conversation, reply?))
    }

    /// Starts `exec`. `owner` is whom its pipes are given to, where that is possible from here; `out_of_memory` tells
    /// whether a SIGKILL was the kernel's, for want of memory.
    ///
    /// # Errors
    /// As [`agentkernel_backend::Sandbox::exec`].
    pub async fn exec(
        &self,
        exec: Exec,
        stdio: Stdio,
        owner: Option<(u32, u32)>,
        out_of_memory: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Process> {
        let conversation = Arc::new(self.dial()?);
        let (stdin, stdout, stderr) = match Pipes::new(stdio, owner)? {
            Some(pipes) => {
                let inside = pipes.inside.each_ref().map(AsFd::as_fd);
                conversation.send_whole(&Request::Exec(exec.clone()), &inside).await?;
                (pipes.stdin, ByteSource::Fd(pipes.stdout), ByteSource::Fd(pipes.stderr))
            }
            None => {
                conversation.send_whole(&Request::Exec(exec.clone()), &[]).await?;
                let (input, output) = process::terminal(&conversation, &exec).await?;
                (input, output, ByteSource::Empty)
            }
        };
        let control = Box::new(RemoteControl(Arc::clone(&conversation)));
        let exit = Box::pin(async move { process::ended(&conversation, &exec, &out_of_memory).await });
        Ok(Process { stdin, stdout, stderr, control, exit })
    }

    /// As [`Client::exec`], and resolves when the command was executed, with its number inside. Without a terminal only.
    ///
    /// # Errors
    /// As [`agentkernel_backend::Sandbox::begin`].
    pub async fn begin(
        &self,
        exec: Exec,
        owner: Option<(u32, u32)>,
        out_of_memory: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<(Process, Option<u32>)> {
        let conversation = Arc::new(self.dial()?);
        let pipes = Pipes::new(Stdio::NoInput, owner)?
            .ok_or_else(|| Error::internal("a command without a terminal has no pipes"))?;
        let inside = pipes.inside.each_ref().map(AsFd::as_fd);
        conversation.send_whole(&Request::Exec(exec.clone()), &inside).await?;
        // A command that has ended by now has closed, and how it ended is here to be read.
        let _ended = conversation.send(&Request::TellStart, &[]);
        let Pipes { stdin, stdout, stderr, inside } = pipes;
        drop(inside);
        let control = Box::new(RemoteControl(Arc::clone(&conversation)));
        let Ok(told) = tokio::time::timeout(ANSWER, conversation.recv()).await else {
            // It must not begin later on, when nobody knows of it any more.
            control.signal(Signal::Kill)?;
            return Err(Error::new(
                Kind::Timeout,
                format!("the command did not begin within {} s", ANSWER.as_secs()),
            ));
        };
        let (pid, early) = match told? {
            Some(Reply::Started { pid }) => (Some(pid), None),
            Some(end @ (Reply::Exited { .. } | Reply::Signaled { .. })) => (None, Some(end)),
            other => return Err(process::unexpected(other, &exec)),
        };
        let exit = Box::pin(async move {
            match early {
                Some(end) => process::end(Some(end), &exec, &out_of_memory),
                None => process::ended(&conversation, &exec, &out_of_memory).await,
            }
        });
        let (stdout, stderr) = (ByteSource::Fd(stdout), ByteSource::Fd(stderr));
        Ok((Process { stdin, stdout, stderr, control, exit }, pid))
    }

    /// # Errors
    /// As [`agentkernel_backend::Sandbox::forward`].
    pub async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>> {
        let refused = |source: std::io::Error| {
            Error::new(Kind::Unavailable, format!("nothing listens on port {port} inside"))
                .with_source(source)
        };
        let socket = self.ask(&Request::Dial { port }).await?.map_err(|fault| refused(fault.io_error()))?;
        // Behind a relay it is connected, and the relay's socket.
        if rustix::net::sockopt::socket_domain(&socket).is_ok_and(|domain| domain == AddressFamily::UNIX) {
            let stream = std::os::unix::net::UnixStream::from(socket);
            stream.set_nonblocking(true).map_err(refused)?;
            return Ok(Box::new(tokio::net::UnixStream::from_std(stream).map_err(refused)?));
        }
        let stream = tokio::net::TcpStream::from_std(socket.into()).map_err(refused)?;
        // The connection may still be under way: then it is complete, or has failed, when it can be written.
        stream.writable().await.map_err(refused)?;
        if let Some(error) = stream.take_error().map_err(refused)? {
            return Err(refused(error));
        }
        Ok(Box::new(stream))
    }

    /// Resolves when the sandbox is gone. Process 1 answers nothing on an idle connection, which closes as it ends.
    pub async fn gone(&self) {
        if let Ok(conversation) = self.dial() {
            while let Ok(Some(_)) = conversation.recv().await {}
        }
    }

    /// Has every process ended: SIGTERM, and SIGKILL after `grace`. Resolves when process 1 is gone; `false` when it was
    /// not running. The caller bounds the wait.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn stop(dir: &Path, grace: Duration) -> Result<bool> {
        let Some(socket) = connect(dir)? else { return Ok(false) };
        let conversation = Conversation::new(socket)?;
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        match conversation.send(&Request::Stop { grace_ms }, &[]) {
            Err(e) if e.kind() != Kind::Conflict => return Err(e),
            _ => while conversation.recv().await?.is_some() {},
        }
        Ok(true)
    }
}
