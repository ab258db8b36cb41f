//! Process 1 of a sandbox that an engine made, such as a container: asks its keeper what to do, and does it.
//!
//! The engine starts this binary with nothing on its command line or in its environment. It connects to the socket that
//! the keeper listens on, and is sent everything else over it: the walls, where to listen, the first command. That
//! connection is its lifeline: when the keeper goes, it ends, and the engine's container with it.

use crate::{
    client::new_socket,
    command::Walls,
    fault::Step,
    files,
    memory::OutOfMemory,
    network,
    service::Service,
    sys,
    walls::{self, Confinement},
    wire::{Exec, Fault, Inbox, Reply, VERSION, send},
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
/// The keeper's socket, in a directory that only the keeper can write.
pub const KEEPER: &str = "/.agentkernel/keeper/keeper.sock";

/// What the keeper says first. Descriptors come along: the listener, then the three streams of the first command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u32,
    pub confinement: Confinement,
    pub network: Network,
    pub listener: Listener,
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
    /// Everything that is sent ends in listeners that go to the keeper.
    Captured,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// Other processes of the host will ask for commands.
    Named,
    None,
}

/// Runs as process 1 and ends with the sandbox.
pub fn run() -> ! {
    sys::exit_now(match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    })
}

fn serve() -> Result<(), Fault> {
    // Before anything else can look.
    walls::hide().step(|| "hide the agent".to_owned())?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let control = connect().step(|| "reach the keeper".to_owned())?;
    match set_up(&control) {
        Ok((walls, listener, first)) => {
            let service = Service::new(control, listener, walls).step(|| "serve".to_owned())?;
            service.watching(OutOfMemory::watch()).run(first).step(|| "serve".to_owned())
        }
        Err(fault) => {
            let _ = send(control.as_fd(), &Reply::Failed(fault.clone()), &[]);
            Err(fault)
        }
    }
}

fn connect() -> Result<OwnedFd, Errno> {
    let socket = new_socket()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(KEEPER)?)?;
    Ok(socket)
}

type First = Option<(Exec, Option<[OwnedFd; 3]>)>;

fn set_up(control: &OwnedFd) -> Result<(Walls, Option<OwnedFd>, First), Fault> {
    let mut inbox = Inbox::default();
    let hear = inbox.recv::<Welcome>(control).step(|| "hear the keeper".to_owned())?;
    let Some(welcome) = hear else { return Err(Fault::new("hear the keeper", Errno::PIPE)) };
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
    welcome.files.iter().try_for_each(place)?;
    if let Some(workdir) = &welcome.workdir {
        // A command that cannot begin there says so itself.
        let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(workdir);
    }
    report(control.as_fd(), welcome.network)?;
    Ok((Walls::new(&welcome.confinement), listener, first))
}

/// Links on the way are the image's own and lead nowhere but inside; what stands at the path itself is replaced.
fn place(file: &NewFile) -> Result<(), Fault> {
    let path = Path::new(&file.path);
    let written = (|| {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path)?;
        new.write_all(&file.content)
    })();
    written.map_err(|e: io::Error| {
        let errno = Errno::from_raw_os_error(e.raw_os_error().unwrap_or(5));
        Fault::new(format!("write {} of the sandbox", file.path), errno)
    })
}

/// Says that the sandbox is complete, and hands its network over.
fn report(control: BorrowedFd<'_>, network: Network) -> Result<(), Fault> {
    let listeners = match network {
        Network::Given => Vec::new(),
        Network::Captured => network::captured()?,
    };
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    send(control, &Reply::Up { network: !fds.is_empty() }, &fds).step(|| "report".to_owned())
}

/// Puts /dev/null where the engine's streams were.
fn quiet() -> Result<(), Errno> {
    let null = files::open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}
