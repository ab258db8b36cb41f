//! Who is at the other end of a connection, as the kernel says.

use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Of the socket of the file system, which only the server's user can open.
    Socket,
    /// On this machine, of the server's user.
    Own,
    /// On this machine, of somebody else.
    Foreign,
    /// On another machine.
    Remote,
    /// On this machine, and nobody says whose.
    Unknown,
}

impl Peer {
    /// The peer at `theirs` of a connection that came to `ours`.
    pub(super) fn of(theirs: SocketAddr, ours: SocketAddr) -> Self {
        let (theirs, ours) = (unmapped(theirs), unmapped(ours));
        if !theirs.ip().is_loopback() && theirs.ip() != ours.ip() {
            return Self::Remote;
        }
        match owner(theirs, ours) {
            Some(uid) if uid == rustix::process::geteuid().as_raw() => Self::Own,
            Some(_) => Self::Foreign,
            None => Self::Unknown,
        }
    }
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The user of the socket whose own address is `theirs` and whose peer is `ours`: `sock_diag`(7).
#[cfg(target_os = "linux")]
fn owner(theirs: SocketAddr, ours: SocketAddr) -> Option<u32> {
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
    };
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )
    .ok()?;
    let kernel = SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &question(theirs, ours), SendFlags::empty(), &kernel).ok()?;
    let mut answer = [0; 512];
    // The kernel has answered when the question is sent: netlink(7) is handled in the sender's call.
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT).ok()?;
    uid(answer.get(..length)?)
}

#[cfg(not(target_os = "linux"))]
fn owner(_theirs: SocketAddr, _ours: SocketAddr) -> Option<u32> {
    None
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`, linux/inet_diag.h.
#[cfg(any(target_os = "linux", test))]
fn question(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    const LENGTH: u32 = 16 + 8 + 48;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST: u16 = 1;
    const TCP: u8 = 6;
    let family: u8 = if source.is_ipv4() { 2 } else { 10 };
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    for ip in [source.ip(), destination.ip()] {
        let mut address = [0; 16];
        match ip {
            IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => address.copy_from_slice(&ip.octets()),
        }
        bytes.extend(address);
    }
    // Any interface; no cookie.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// `idiag_uid` of `struct inet_diag_msg`, behind its header. The kernel has forgotten whose a socket was that its owner
/// has closed, and says 0: such a one is nobody's.
#[cfg(any(target_os = "linux", test))]
fn uid(answer: &[u8]) -> Option<u32> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    /// ESTABLISHED and CLOSE_WAIT: somebody holds a descriptor of it (tcp_states.h).
    const HELD: [u8; 2] = [1, 8];
    const STATE: usize = 16 + 1;
    const UID: usize = 16 + 4 + 48 + 12;
    let number = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let (state, uid, inode) = (answer.get(STATE)?, number(UID)?, number(UID + 4)?);
    let is_held = HELD.contains(state) && inode != 0;
    (kind == SOCK_DIAG_BY_FAMILY && is_held).then_some(uid)
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
