//! The sandbox's traffic as its keeper sees it: the listeners that init opened inside, served from outside.

use crate::{datagram, network::Udp, sys};
use agentkernel_backend::{Datagram, Ends, Flow, Packet, Uplink};
use agentkernel_model::{Error, Result};
use async_trait::async_trait;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{io, net::SocketAddr};
use tokio::{
    io::Interest,
    net::{TcpListener, UdpSocket},
};

#[derive(Debug)]
pub struct CapturedUplink {
    v4: Sockets,
    v6: Option<Sockets>,
}

/// Those of one family.
#[derive(Debug)]
struct Sockets {
    tcp: TcpListener,
    dns: UdpSocket,
    other: Option<Other>,
}

/// UDP that is no DNS.
#[derive(Debug)]
struct Other {
    received: UdpSocket,
    raw: OwnedFd,
}

impl Sockets {
    /// The next ones of `sockets`; `None` where there are no more.
    fn take(sockets: &mut impl Iterator<Item = OwnedFd>, other: Udp) -> io::Result<Option<Self>> {
        let Some(tcp) = sockets.next() else { return Ok(None) };
        let mut next = || sockets.next().ok_or(io::ErrorKind::InvalidData);
        let dns = UdpSocket::from_std(next()?.into())?;
        let other = match other {
            Udp::Rejected => None,
            Udp::Captured => Some(Other { received: UdpSocket::from_std(next()?.into())?, raw: next()? }),
        };
        Ok(Some(Self { tcp: TcpListener::from_std(tcp.into())?, dns, other }))
    }
}

impl Other {
    async fn packet(&self) -> io::Result<Packet> {
        loop {
            // Of its own for each, because it becomes the payload; nothing is kept while nothing comes.
            let read = || {
                let mut payload = vec![0; datagram::MAX_PAYLOAD];
                let found = datagram::receive(self.received.as_fd(), &mut payload)?;
                Ok(found.map(|(ends, count)| {
                    payload.truncate(count);
                    Packet { ends, payload }
                }))
            };
            if let Some(packet) = self.received.async_io(Interest::READABLE, read).await? {
                return Ok(packet);
            }
        }
    }
}

impl CapturedUplink {
    /// `sockets` as init sends them, see [`crate::network::captured`], which was told the same of `other`.
    pub fn new(sockets: Vec<OwnedFd>, other: Udp) -> Result<Self> {
        let mut sockets = sockets.into_iter();
        let mut take = || Sockets::take(&mut sockets, other);
        let failed = |e| Error::io("cannot serve the sandbox's network", e);
        let v4 = take().map_err(failed)?.ok_or_else(|| Error::internal("the sandbox sent no network"))?;
        let v6 = take().map_err(failed)?;
        Ok(Self { v4, v6 })
    }

    /// The socket that answers UDP of the family of `ends`.
    fn raw(&self, ends: Ends) -> Option<BorrowedFd<'_>> {
        let sockets = if ends.inside.is_ipv4() { Some(&self.v4) } else { self.v6.as_ref() };
        sockets?.other.as_ref().map(|other| other.raw.as_fd())
    }

    async fn accept_v6(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        match &self.v6 {
            Some(pair) => pair.tcp.accept().await,
            None => std::future::pending().await,
        }
    }

    async fn readable_v6(&self) -> io::Result<&UdpSocket> {
        match &self.v6 {
            Some(pair) => pair.dns.readable().await.map(|()| &pair.dns),
            None => std::future::pending().await,
        }
    }
}

/// What the mutation `gateway` does in place of asking the gateway.
#[cfg(feature = "mutations")]
async fn forward_anywhere(mut inside: tokio::net::TcpStream, meant: SocketAddr) {
    if let Ok(mut outside) = tokio::net::TcpStream::connect(meant).await {
        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
    }
}

#[async_trait]
impl Uplink for CapturedUplink {
    async fn accept(&self) -> io::Result<Flow> {
        loop {
            let (stream, _) = tokio::select! {
                accepted = self.v4.tcp.accept() => accepted?,
                accepted = self.accept_v6() => accepted?,
            };
            let local = stream.local_addr()?;
            #[cfg(feature = "mutations")]
            if crate::mutation::off("gateway") {
                let meant = sys::original_dst(stream.as_fd(), local.is_ipv6()).unwrap_or(local);
                tokio::spawn(forward_anywhere(stream, meant));
                continue;
            }
            // A connection to the listener's own address was not redirected: somebody inside found its port. It has no
            // destination, so it goes nowhere.
            if let Ok(original_dst) = sys::original_dst(stream.as_fd(), local.is_ipv6())
                && original_dst != local
            {
                return Ok(Flow { original_dst, io: Box::new(stream) });
            }
        }
    }

    async fn receive(&self) -> io::Result<Datagram> {
        let mut buffer = [0_u8; 4096];
        loop {
            let socket = tokio::select! {
                ready = self.v4.dns.readable() => ready.map(|()| &self.v4.dns)?,
                ready = self.readable_v6() => ready?,
            };
            match socket.try_recv_from(&mut buffer) {
                Ok((length, peer)) => return Ok(Datagram { peer, payload: buffer[..length].to_vec() }),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    async fn reply(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let pair = match (&self.v6, peer) {
            (Some(v6), SocketAddr::V6(_)) => v6,
            _ => &self.v4,
        };
        match pair.dns.send_to(payload, peer).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn packet(&self) -> io::Result<Packet> {
        let v6 = async {
            match self.v6.as_ref().and_then(|sockets| sockets.other.as_ref()) {
                Some(other) => other.packet().await,
                None => std::future::pending().await,
            }
        };
        match &self.v4.other {
            Some(v4) => tokio::select! {
                packet = v4.packet() => packet,
                packet = v6 => packet,
            },
            None => std::future::pending().await,
        }
    }

    fn deliver(&self, ends: Ends, payload: &[u8]) {
        if let Some(raw) = self.raw(ends) {
            datagram::deliver(raw, ends, payload);
        }
    }

    fn reject(&self, ends: Ends) {
        if let Some(raw) = self.raw(ends) {
            datagram::reject(raw, ends);
        }
    }
}
