//! The end of the stream that the keeper has.

use super::{
    frame::{put_address, take_address},
    ports::{KeeperPorts, Ports},
    relay::{MAX_FLOWS, Relay, State},
};
use agentkernel_backend::{Datagram, Ends, Flow, Packet, Uplink};
use agentkernel_model::{Error, Result};
use async_trait::async_trait;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};
use std::{io, net::SocketAddr, os::unix::net::UnixDatagram as StdDatagram};
use tokio::{
    net::{UnixDatagram, UnixStream},
    sync::{Mutex, mpsc},
};

/// Connections of the sandbox that wait for the gateway; more are refused.
const MAX_WAITING: usize = 256;

/// A sandbox at the other end of a stream.
#[derive(Debug)]
pub struct Link {
    /// A conversation with process 1, as over its own socket. When it is dropped, the stream ends.
    pub control: OwnedFd,
    /// What is read from here goes to the sandbox's end of the stream, and what comes from there is written here.
    pub wire: OwnedFd,
    pub uplink: LinkUplink,
}

impl Link {
    /// Starts the keeper's end, whose thread lives as long as `control` is held. Whoever connects to `callers`, and is
    /// this user, gets a conversation. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses descriptors or a thread.
    pub fn start(callers: Option<OwnedFd>) -> Result<Self> {
        let failed = |e: io::Error| Error::io("cannot make the sandbox's stream", e);
        Self::open(callers).map_err(failed)
    }

    fn open(callers: Option<OwnedFd>) -> io::Result<Self> {
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let (wire, inner) = pair(SocketType::STREAM)?;
        let (datagrams, theirs) = pair(SocketType::DGRAM)?;
        rustix::io::ioctl_fionbio(&wire, true)?;
        let datagrams = StdDatagram::from(datagrams);
        datagrams.set_nonblocking(true)?;
        let (flows, waiting) = mpsc::channel(MAX_WAITING);
        let ports = Ports::Keeper(KeeperPorts { callers, flows, datagrams: theirs });
        let (relay, control) = Relay::new(inner.try_clone()?, inner, ports)?;
        std::thread::Builder::new().name("sandbox-link".to_owned()).spawn(move || carry(relay))?;
        let uplink = LinkUplink { flows: Mutex::new(waiting), datagrams: UnixDatagram::from_std(datagrams)? };
        Ok(Self { control, wire, uplink })
    }
}

/// A thread of its own: the relay is the same as the sandbox's, where there is no event loop but its own.
fn carry(mut relay: Relay) {
    while matches!(relay.turn(), Ok(State::Live)) {}
    relay.deliver_rest();
}

/// The sandbox's traffic, as it comes out of the stream.
#[derive(Debug)]
pub struct LinkUplink {
    flows: Mutex<mpsc::Receiver<(SocketAddr, OwnedFd)>>,
    datagrams: UnixDatagram,
}

#[async_trait]
impl Uplink for LinkUplink {
    async fn accept(&self) -> io::Result<Flow> {
        let next = self.flows.lock().await.recv().await;
        let (original_dst, fd) = next.ok_or(io::ErrorKind::BrokenPipe)?;
        let stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_nonblocking(true)?;
        Ok(Flow { original_dst, io: Box::new(UnixStream::from_std(stream)?) })
    }

    /// What the relay of the sandbox takes; the others wait there.
    fn most_connections(&self) -> usize {
        MAX_FLOWS
    }

    async fn receive(&self) -> io::Result<Datagram> {
        let mut buffer = [0_u8; 8192];
        loop {
            let count = self.datagrams.recv(&mut buffer).await?;
            if let Ok((peer, payload)) = take_address(&buffer[..count]) {
                return Ok(Datagram { peer, payload: payload.to_vec() });
            }
        }
    }

    async fn reply(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 32);
        put_address(peer, &mut bytes);
        bytes.extend_from_slice(payload);
        match self.datagrams.try_send(&bytes) {
            // What finds no room is lost, as datagrams are.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) if e.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The stream carries no other UDP: a sandbox at its end that is to have some does not start ([`crate::agent`]).
    async fn packet(&self) -> io::Result<Packet> {
        std::future::pending().await
    }

    fn deliver(&self, _: Ends, _: &[u8]) {}

    fn reject(&self, _: Ends) {}
}
