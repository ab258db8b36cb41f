//! Process 1 of a sandbox that an engine made, such as a container: asks its keeper what to do, and does it.
//!
//! The engine starts this binary with nothing on its command line or in its environment. It connects to the socket that
//! the keeper listens on, or finds the keeper at the other end of its standard streams, and is sent everything else over
//! that: the walls, where to listen, the first command. It is its lifeline: when the keeper goes, the agent ends, and the
//! engine's container with it.

use crate::{
    client::new_socket,
    command::Walls,
    fault::Step,
    files,
    link::relay::{Relay, State},
    meant::Meant,
    memory::OutOfMemory,
    network::{self, Udp},
    service::Service,
    sys,
    walls::{self, Confinement},
    wire::{Exec, Fault, Filled, Inbox, Reply, send},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::SocketAddrUnix,
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Where a sandbox has the agent's files.
pub const DIRECTORY: &str = "/.agentkernel";
/// The first argument with which this binary is the agent.
pub const WORD: &str = "sandbox-agent";
/// The second argument where the keeper is at the other end of the standard streams.
pub const STREAMS: &str = "streams";
/// The keeper's socket, in a directory that only the keeper can write.
pub const KEEPER: &str = "/.agentkernel/keeper/keeper.sock";

/// Files that every engine makes and mounts itself where nobody else does.
pub const OF_ENGINES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Raised when [`Welcome`] changes its meaning: an agent that would not do all that it asks for must not begin. What is said
/// later has a version of its own.
pub const VERSION: u32 = 3;

/// What the keeper says first. Descriptors come along: the listener, then the three streams of the first command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    pub confinement: Confinement,
    pub network: Network,
    pub listener: Listener,
    /// What the engine was to mount: nothing is done in a sandbox that shows anything else.
    pub meant: Vec<Meant>,
    /// Put in place before anything else is done, whatever stands there.
    pub files: Vec<NewFile>,
    /// A directory that commands begin in, made where it is missing and can be made.
    pub workdir: Option<String>,
    /// The one command of an ephemeral sandbox.
    pub command: Option<Exec>,
}

/// A file that the sandbox is to have.
#[derive(Debug, Serialize, Deserialize)]
pub struct NewFile {
    pub path: String,
    pub mode: u32,
    pub content: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A loopback, or whatever the engine gave it.
    Given,
    /// Everything that is sent ends in listeners that go to the keeper, but for UDP that is no DNS.
    Captured,
    /// The same, and all UDP.
    CapturedWithUdp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// Other processes of the host will ask for commands.
    Named,
    None,
}

/// Where the keeper is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Road {
    /// At [`KEEPER`].
    #[default]
    Socket,
    /// At the other end of the standard streams, which carry everything.
    Streams,
}

impl Road {
    /// As the second argument says it.
    #[must_use]
    pub fn from_argument(argument: Option<&std::ffi::OsStr>) -> Self {
        if argument.is_some_and(|word| word == STREAMS) { Self::Streams } else { Self::Socket }
    }
}

/// Runs as process 1 and ends with the sandbox.
pub fn run(road: Road) -> ! {
    sys::exit_now(match serve(road) {
        Ok(()) => 0,
        Err(_) => 1,
    })
}

fn serve(road: Road) -> Result<(), Fault> {
    // Before anything else can look.
    walls::hide().step(|| "hide the agent".to_owned())?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let (control, mut relay) = match road {
        Road::Socket => (connect().step(|| "reach the keeper".to_owned())?, None),
        Road::Streams => {
            let (relay, control) = streams().step(|| "use the standard streams".to_owned())?;
            (control, Some(relay))
        }
    };
    match set_up(&control, relay.as_mut()) {
        Ok((walls, listener, first)) => {
            let service = Service::new(control, listener, walls).step(|| "serve".to_owned())?;
            service.through(relay).watching(OutOfMemory::watch()).run(first).step(|| "serve".to_owned())
        }
        Err(fault) => {
            let _ = send(control.as_fd(), &Reply::Failed(fault.clone()), &[]);
            drop(control);
            if let Some(mut relay) = relay {
                relay.finish(None);
            }
            Err(fault)
        }
    }
}

fn streams() -> Result<(Relay, OwnedFd), Errno> {
    let apart = |stream| rustix::io::fcntl_dupfd_cloexec(stream, 3);
    Relay::inside(apart(rustix::stdio::stdin())?, apart(rustix::stdio::stdout())?)
}

fn connect() -> Result<OwnedFd, Errno> {
    let socket = new_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(KEEPER)?)?;
    Ok(socket)
}

type First = Option<(Exec, Option<[OwnedFd; 3]>)>;

fn set_up(
    control: &OwnedFd,
    mut relay: Option<&mut Relay>,
) -> Result<(Walls, Option<OwnedFd>, First), Fault> {
    let mut inbox = Inbox::default();
    let heard = match &mut relay {
        None => inbox.recv::<Welcome>(control),
        Some(relay) => hear(&mut inbox, control, relay),
    };
    let heard = heard.step(|| "hear the keeper".to_owned())?;
    let Some(welcome) = heard else { return Err(Fault::new("hear the keeper", Errno::PIPE)) };
    if welcome.version != VERSION {
        return Err(Fault::new("speak the keeper's version of the protocol", Errno::PROTO));
    }
    let mut take = || inbox.take_fd().ok_or(Errno::BADF).step(|| "take the keeper's descriptors".to_owned());
    let listener = match welcome.listener {
        Listener::Named => Some(take()?),
        Listener::None => None,
    };
    let first = match welcome.command {
        None => None,
        Some(exec) if exec.terminal.is_some() => Some((exec, None)),
        Some(exec) => Some((exec, Some([take()?, take()?, take()?]))),
    };
    quiet().step(|| "let go of the engine's descriptors".to_owned())?;
    welcome.meant.iter().try_for_each(Meant::check)?;
    welcome.files.iter().try_for_each(place)?;
    if let Some(workdir) = &welcome.workdir {
        // A command that cannot begin there says so itself.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(workdir);
    }
    report(control.as_fd(), welcome.network, relay)?;
    Ok((Walls::new(&welcome.confinement), listener, first))
}

fn place(file: &NewFile) -> Result<(), Fault> {
    let path = Path::new(&file.path);
    let written = put(path, file, OF_ENGINES.contains(&file.path.as_str()));
    written.map_err(|e| {
        let errno = Errno::from_raw_os_error(e.raw_os_error().unwrap_or(5));
        Fault::new(format!("write {} of the sandbox", file.path), errno)
    })
}

/// Links on the way are the image's own and lead nowhere but inside; what stands at the path itself is replaced. What is
/// mounted there cannot be, and is written over where it is the engine's: anything else may be a file of the host.
fn put(path: &Path, file: &NewFile, of_engine: bool) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir(path)?,
        Ok(_) => match fs::remove_file(path) {
            Err(e) if of_engine && e.kind() == io::ErrorKind::ResourceBusy => {
                return fs::write(path, &file.content);
            }
            removed => removed?,
        },
        Err(_) => {}
    }
    let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path)?;
    new.write_all(&file.content)
}

/// The keeper's first message, over a relay that nobody else moves yet.
fn hear(inbox: &mut Inbox, control: &OwnedFd, relay: &mut Relay) -> Result<Option<Welcome>, Errno> {
    rustix::io::ioctl_fionbio(control, true)?;
    loop {
        if let Some(welcome) = inbox.pop()? {
            return Ok(Some(welcome));
        }
        match inbox.fill(control) {
            Ok(Filled::Some) => {}
            Ok(Filled::End) => return Ok(None),
            Err(Errno::AGAIN) if relay.turn()? == State::Live => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}

/// Says that the sandbox is complete, and hands its network over: to the keeper, or to the relay.
fn report(control: BorrowedFd<'_>, network: Network, relay: Option<&mut Relay>) -> Result<(), Fault> {
    let listeners = match network {
        Network::Given => Vec::new(),
        Network::Captured => network::captured(Udp::Rejected)?,
        Network::CapturedWithUdp if relay.is_some() => {
            return Err(Fault::new("carry the sandbox's UDP over a stream", Errno::OPNOTSUPP));
        }
        Network::CapturedWithUdp => network::captured(Udp::Captured)?,
    };
    let network = !listeners.is_empty();
    let fds: Vec<BorrowedFd<'_>> = match relay {
        None => listeners.iter().map(AsFd::as_fd).collect(),
        Some(_) => Vec::new(),
    };
    send(control, &Reply::Up { network }, &fds).step(|| "report".to_owned())?;
    if let Some(relay) = relay {
        relay.capture(listeners);
    }
    Ok(())
}

/// Puts /dev/null where the engine's streams were.
fn quiet() -> Result<(), Errno> {
    let null = files::open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
