//! A connection to a message bus: proves who this process is, sends, and waits for messages up to one deadline. It knows
//! nothing of what is said.

use super::dbus::{MAX_MESSAGE, Malformed, Message};
use crate::sys;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
        sockopt::{Timeout, set_socket_timeout},
    },
    time::Timespec,
};
use std::{
    fmt, io,
    path::Path,
    time::{Duration, Instant},
};

/// Why a conversation over a bus came to nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    Io(Errno),
    /// The bus belongs to another user, or its process ids are not this process's.
    Foreign(&'static str),
    /// The bus does not believe who this process is.
    Rejected,
    Malformed(Malformed),
    /// The other side hung up.
    Closed,
    TooLate(Duration),
    /// The answer is an error: its name and text.
    Answer(String, String),
    /// The job that was asked for ended otherwise than well.
    Job(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use agentkernel_model::text::printable;
        match self {
            Self::Io(errno) => io::Error::from(*errno).fmt(f),
            Self::Foreign(why) => f.write_str(why),
            Self::Rejected => f.write_str("the bus rejects this user"),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Closed => f.write_str("the bus closed the connection"),
            Self::TooLate(patience) => write!(f, "no answer within {patience:?}"),
            Self::Answer(name, text) => write!(f, "{} ({})", printable(text), printable(name)),
            Self::Job(result) => write!(f, "the job ended as '{}'", printable(result)),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

impl From<Malformed> for Trouble {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// How long the bus may take for everything that one connection is for.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    patience: Duration,
    end: Instant,
}

impl Deadline {
    fn new(patience: Duration) -> Self {
        Self { patience, end: Instant::now() + patience }
    }

    fn left(self) -> Result<Duration, Trouble> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Trouble::TooLate(self.patience)) } else { Ok(left) }
    }
}

#[derive(Debug)]
pub(crate) struct Bus {
    socket: OwnedFd,
    deadline: Deadline,
    /// What arrived and is no whole message yet.
    received: Vec<u8>,
    last_serial: u32,
}

impl Bus {
    /// Connects to the bus that listens at `path` and must belong to user `owner`. Everything until the connection is
    /// dropped has to happen within `patience`.
    pub(crate) fn connect(path: &Path, owner: u32, patience: Duration) -> Result<Self, Trouble> {
        let deadline = Deadline::new(patience);
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // Connecting waits while the bus has no room for one more, and so does sending.
        set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
        let late = |errno| match errno {
            Errno::AGAIN => Trouble::TooLate(patience),
            errno => Trouble::Io(errno),
        };
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?).map_err(late)?;
        let peer = sys::peer(&socket)?;
        check_peer(peer.0, peer.1, owner)?;
        let mut bus = Self { socket, deadline, received: Vec::new(), last_serial: 0 };
        bus.authenticate()?;
        Ok(bus)
    }

    /// SASL with the one mechanism that needs no secret: the kernel has told the bus who this is.
    fn authenticate(&mut self) -> Result<(), Trouble> {
        const LONGEST_LINE: usize = 512;
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.write(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let line = loop {
            if let Some(end) = self.received.windows(2).position(|w| w == b"\r\n") {
                break self.received.drain(..end + 2).collect::<Vec<u8>>();
            }
            if self.received.len() > LONGEST_LINE {
                return Err(Malformed("an answer to the greeting without an end").into());
            }
            self.fill()?;
        };
        if !line.starts_with(b"OK ") {
            return Err(Trouble::Rejected);
        }
        self.write(b"BEGIN\r\n")
    }

    /// Sends `messages` at once; the serial numbers that they went out under.
    pub(crate) fn send<const N: usize>(&mut self, messages: [Message; N]) -> Result<[u32; N], Trouble> {
        let mut bytes = Vec::new();
        let mut serials = [0; N];
        for (message, serial) in messages.iter().zip(&mut serials) {
            self.last_serial += 1;
            *serial = self.last_serial;
            bytes.extend(message.encode(*serial)?);
        }
        self.write(&bytes)?;
        Ok(serials)
    }

    /// The next message, whatever it is.
    pub(crate) fn receive(&mut self) -> Result<Message, Trouble> {
        loop {
            if let Some(length) = Message::length(&self.received)?
                && let Some(whole) = self.received.get(..length)
            {
                let message = Message::parse(whole)?;
                self.received.drain(..length);
                return Ok(message);
            }
            self.fill()?;
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Trouble::TooLate(self.deadline.patience)),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Trouble::Closed),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits for bytes and takes them over, a few at a time: a sender that never ends does not make the wait endless.
    fn fill(&mut self) -> Result<(), Trouble> {
        let left = Timespec::try_from(self.deadline.left()?).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut chunk = [0_u8; 4096];
        match rustix::net::recv(&self.socket, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(Trouble::Closed),
            Ok((count, _)) => {
                self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                // Never more than one unfinished message and one chunk.
                debug_assert!(self.received.len() <= MAX_MESSAGE + chunk.len());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A bus of another pid namespace has no process id here, and the ids told to it would be those of other processes
/// there: a container into which the bus of its host was mounted.
fn check_peer(pid: i32, uid: u32, owner: u32) -> Result<(), Trouble> {
    if pid <= 0 {
        return Err(Trouble::Foreign("the bus runs outside this pid namespace"));
    }
    // Root's own buses serve everybody; what they say of themselves is as good as the kernel's word.
    if uid != owner && uid != 0 {
        return Err(Trouble::Foreign("the bus belongs to another user"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
