//! The sandbox's traffic as its keeper sees it: the listeners that init opened inside, served from outside.

use crate::sys;
use agentkernel_backend::{Datagram, Flow, Uplink};
use agentkernel_model::{Error, Result};
use async_trait::async_trait;
use rustix::fd::{AsFd, OwnedFd};
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, UdpSocket};

#[derive(Debug)]
pub struct CapturedUplink {
    v4: Pair,
    v6: Option<Pair>,
}

#[derive(Debug)]
struct Pair {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Pair {
    fn new(tcp: OwnedFd, udp: OwnedFd) -> io::Result<Self> {
        Ok(Self { tcp: TcpListener::from_std(tcp.into())?, udp: UdpSocket::from_std(udp.into())? })
    }
}

impl CapturedUplink {
    /// `sockets` as init sends them: TCP and UDP for IPv4, then for IPv6 where there is any.
    pub fn new(sockets: Vec<OwnedFd>) -> Result<Self> {
        let mut sockets = sockets.into_iter();
        let mut pair = || Some((sockets.next()?, sockets.next()?));
        let failed = |e| Error::io("cannot serve the sandbox's network", e);
        let (tcp, udp) = pair().ok_or_else(|| Error::internal("the sandbox sent no network"))?;
        let v4 = Pair::new(tcp, udp).map_err(failed)?;
        let v6 = pair().map(|(tcp, udp)| Pair::new(tcp, udp)).transpose().map_err(failed)?;
        Ok(Self { v4, v6 })
    }

    async fn accept_v6(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        match &self.v6 {
            Some(pair) => pair.tcp.accept().await,
            None => std::future::pending().await,
        }
    }

    async fn readable_v6(&self) -> io::Result<&UdpSocket> {
        match &self.v6 {
            Some(pair) => pair.udp.readable().await.map(|()| &pair.udp),
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
                ready = self.v4.udp.readable() => ready.map(|()| &self.v4.udp)?,
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
        match pair.udp.send_to(payload, peer).await {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(e) => Err(e),
        }
    }
}
