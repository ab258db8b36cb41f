//! A running sandbox, found through the socket that its init listens on.

use crate::{
    cgroup::Group,
    conversation::Conversation,
    idmap::IdMap,
    launch::Init,
    plan::Defaults,
    process::{self, NativeControl, Pipes},
    wire::{Exec, Fault, Reply, Request, VERSION},
};
use agentkernel_backend::{ByteSource, ByteStream, Files, Process, Sandbox, Stats};
use agentkernel_model::{Error, Kind, Result, command::ExecSpec};
use async_trait::async_trait;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) const SOCKET: &str = "init.sock";
/// How long a sandbox may take to open a file or a connection.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(30);

/// Opens, listens on or connects to the socket in `dir`; through /proc, because a socket's path has 107 bytes at most
/// and a data directory may lie deeper.
pub(crate) fn socket_address(dir: &Path) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
    use rustix::fd::AsRawFd;
    let fd = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", fd.as_raw_fd()))?;
    Ok((fd, address))
}

pub(crate) fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// A connection to the init of the sandbox in `dir`; `None` when it is not running.
pub(crate) fn connect(dir: &Path) -> Result<Option<OwnedFd>> {
    let failed = |errno: Errno| Error::io("cannot reach the sandbox", errno.into());
    let (_dir, address) = match socket_address(dir) {
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

/// What keeps a sandbox alive: only its keeper has one. Ends the sandbox when dropped.
#[derive(Debug)]
pub(crate) struct Lifeline {
    // Before the group in order: a group can be removed when its processes are gone.
    pub(crate) init: Init,
    pub(crate) group: Option<Group>,
    pub(crate) control: Arc<Conversation>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(self.init.pidfd(), rustix::process::Signal::KILL);
        self.init.reap();
        if let Some(group) = &self.group {
            let _ = group.remove();
        }
    }
}

#[derive(Debug)]
pub(crate) struct NativeSandbox {
    pub(crate) dir: PathBuf,
    pub(crate) defaults: Defaults,
    pub(crate) map: IdMap,
    pub(crate) group: Option<Group>,
    pub(crate) lifeline: Option<Lifeline>,
}

impl NativeSandbox {
    pub(crate) fn dial(&self) -> Result<Conversation> {
        let socket = connect(&self.dir)?.ok_or_else(|| {
            Error::new(Kind::Conflict, "the sandbox is not running").with_hint("start it first")
        })?;
        let conversation = Conversation::new(socket)?;
        conversation.send(&Request::Hello { version: VERSION }, &[])?;
        Ok(conversation)
    }

    /// Asks init for a descriptor.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Result<OwnedFd, Fault>> {
        let (conversation, reply) = self.query(request).await?;
        match reply {
            Some(Reply::Opened) => Ok(Ok(conversation.take_fd()?)),
            Some(Reply::Refused(fault)) => Ok(Err(fault)),
            other => Err(process::unexpected(other, &Exec::none())),
        }
    }

    /// Asks init for something that is there at once.
    pub(crate) async fn query(&self, request: &Request) -> Result<(Conversation, Option<Reply>)> {
        let conversation = self.dial()?;
        conversation.send(request, &[])?;
        // The process that answers can be killed or stopped by others inside.
        let reply = tokio::time::timeout(ANSWER, conversation.recv()).await.map_err(|_| {
            Error::new(Kind::Timeout, format!("the sandbox did not answer within {} s", ANSWER.as_secs()))
        })?;
        Ok((conversation, reply?))
    }
}

#[async_trait]
impl Sandbox for NativeSandbox {
    async fn exec(&self, spec: &ExecSpec) -> Result<Process> {
        let exec = self.defaults.command(spec);
        check_user(&self.map, &exec)?;
        let conversation = Arc::new(self.dial()?);
        let pipes = Pipes::new(spec.stdio, self.map.host_ids(exec.uid, exec.gid))?;
        let (stdin, stdout, stderr) = match pipes {
            Some(pipes) => {
                let inside = pipes.inside.each_ref().map(AsFd::as_fd);
                conversation.send(&Request::Exec(exec.clone()), &inside)?;
                (pipes.stdin, ByteSource::Fd(pipes.stdout), ByteSource::Fd(pipes.stderr))
            }
            None => {
                conversation.send(&Request::Exec(exec.clone()), &[])?;
                let (input, output) = process::terminal(&conversation, &exec).await?;
                (input, output, ByteSource::Empty)
            }
        };
        let control = Box::new(NativeControl(Arc::clone(&conversation)));
        let group = self.group.clone();
        let exit = Box::pin(async move { process::ended(&conversation, &exec, group.as_ref()).await });
        Ok(Process { stdin, stdout, stderr, control, exit })
    }

    async fn forward(&self, port: u16) -> Result<Box<dyn ByteStream>> {
        let refused = |source: std::io::Error| {
            Error::new(Kind::Unavailable, format!("nothing listens on port {port} inside"))
                .with_source(source)
        };
        let socket = self.ask(&Request::Dial { port }).await?.map_err(|fault| refused(fault.io_error()))?;
        let stream = tokio::net::TcpStream::from_std(socket.into()).map_err(refused)?;
        // The connection may still be under way: then it is complete, or has failed, when it can be written.
        stream.writable().await.map_err(refused)?;
        if let Some(error) = stream.take_error().map_err(refused)? {
            return Err(refused(error));
        }
        Ok(Box::new(stream))
    }

    async fn stats(&self) -> Result<Stats> {
        if connect(&self.dir)?.is_none() {
            return Err(Error::new(Kind::Conflict, "the sandbox is not running").with_hint("start it first"));
        }
        Ok(self.group.as_ref().map(Group::stats).unwrap_or_default())
    }

    async fn gone(&self) {
        if let Some(lifeline) = &self.lifeline {
            let copy = lifeline.init.pidfd().try_clone().and_then(crate::sys::watch);
            if let Ok(pidfd) = copy {
                let _ = pidfd.readable().await;
            }
            return;
        }
        // Init answers nothing on an idle connection; it closes when init ends.
        if let Ok(conversation) = self.dial() {
            while let Ok(Some(_)) = conversation.recv().await {}
        }
    }

    fn files(&self) -> &dyn Files {
        self
    }
}

/// A user that the sandbox's map does not have cannot be become.
pub(crate) fn check_user(map: &IdMap, exec: &Exec) -> Result<()> {
    if map.has(exec.uid) && map.has(exec.gid) {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("this sandbox has no user {}:{}", exec.uid, exec.gid))
        .with_hint(
            "it has one user, root inside, because no subordinate ids are set up; see 'agentkernel doctor'",
        ))
}
