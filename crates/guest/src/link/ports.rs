//! Where each side meets its own: the sandbox's captured network inside, callers and the gateway outside.

use super::frame::{MAX_CONTENT, Number, put_address, take_address};
use crate::sys;
use rustix::{
    fd::{AsFd as _, OwnedFd},
    io::Errno,
    net::{RecvFlags, SendFlags, SocketFlags, accept_with, recvfrom, sendto},
};
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// The longest datagram of DNS that is passed on, in bytes.
const MAX_DATAGRAM: usize = 4096;

/// What one side has beside its channels.
#[derive(Debug)]
pub(super) enum Ports {
    Keeper(KeeperPorts),
    Sandbox(SandboxPorts),
    Closed,
}

#[derive(Debug)]
pub(super) struct KeeperPorts {
    /// Where other processes of this machine ask for conversations.
    pub(super) callers: Option<OwnedFd>,
    /// Connections of the sandbox, for the gateway.
    pub(super) flows: mpsc::Sender<(SocketAddr, OwnedFd)>,
    /// Datagrams of the sandbox, each with its address before it.
    pub(super) datagrams: OwnedFd,
}

#[derive(Debug, Default)]
pub(super) struct SandboxPorts {
    /// Listeners that everything was redirected to.
    pub(super) tcp: Vec<OwnedFd>,
    pub(super) udp: Vec<OwnedFd>,
    /// Conversations that the keeper's side opened, for process 1.
    pub(super) opened: Vec<(Number, OwnedFd)>,
}

impl KeeperPorts {
    /// The next caller who may ask: this user or root.
    pub(super) fn accept(&self) -> Result<Option<OwnedFd>, Errno> {
        let Some(callers) = &self.callers else { return Ok(None) };
        let socket = accept_with(callers, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let own = rustix::process::geteuid().as_raw();
        let may = matches!(sys::peer(&socket), Ok((_, uid)) if uid == own || uid == 0);
        Ok(may.then_some(socket))
    }

    /// A datagram for the sandbox.
    pub(super) fn receive(&self) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0_u8; MAX_DATAGRAM + 32];
        let count = rustix::io::read(&self.datagrams, &mut buffer).ok()?;
        let (address, payload) = take_address(&buffer[..count]).ok()?;
        Some((address, payload.to_vec()))
    }

    /// One that finds no room is lost, as datagrams are.
    pub(super) fn deliver(&self, from: SocketAddr, payload: &[u8]) {
        let mut bytes = Vec::with_capacity(payload.len() + 32);
        put_address(from, &mut bytes);
        bytes.extend_from_slice(payload);
        let _ = rustix::net::send(&self.datagrams, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

impl SandboxPorts {
    /// A connection of the sandbox, and where it was meant to go.
    pub(super) fn accept(&self, index: usize) -> Result<Option<(SocketAddr, OwnedFd)>, Errno> {
        let Some(listener) = self.tcp.get(index) else { return Ok(None) };
        let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let local: SocketAddr = rustix::net::getsockname(&socket)?.try_into()?;
        let meant = sys::original_dst(socket.as_fd(), local.is_ipv6())?;
        // A connection to the listener's own address was not redirected: it goes nowhere.
        Ok((meant != local).then_some((meant, socket)))
    }

    /// A datagram that the sandbox sent.
    pub(super) fn receive(&self, index: usize) -> Option<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0_u8; MAX_DATAGRAM];
        let socket = self.udp.get(index)?;
        let (count, _, from) = recvfrom(socket, &mut buffer[..], RecvFlags::DONTWAIT).ok()?;
        Some((from?.try_into().ok()?, buffer[..count.min(MAX_CONTENT)].to_vec()))
    }

    pub(super) fn deliver(&self, to: SocketAddr, payload: &[u8]) {
        let same_family = |socket: &&OwnedFd| {
            let own: Result<SocketAddr, Errno> = rustix::net::getsockname(socket).and_then(TryInto::try_into);
            own.is_ok_and(|own| own.is_ipv6() == to.is_ipv6())
        };
        if let Some(socket) = self.udp.iter().find(same_family) {
            let _ = sendto(socket, payload, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, &to);
        }
    }
}
