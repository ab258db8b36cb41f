//! UDP of a sandbox whose rules let some out. nftables steers it to one socket as it was sent, which says where each datagram
//! was to go; what comes back is written, headers and all, to a socket that only sends: it comes from addresses and ports that
//! no socket has.

use crate::{network::new_socket, sys};
use agentkernel_backend::Ends;
use rustix::{
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with, sockopt},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// On packets that the keeper sends in, so that they are not steered to it again. No command inside may set it.
pub(crate) const MARK: u32 = 0x616b_0001;
/// The longest payload of a datagram: that of IPv6; of IPv4 it is 20 bytes less.
pub(crate) const MAX_PAYLOAD: usize = 65_527;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const V4_HEADER: usize = 20;

pub(crate) fn mark(socket: &OwnedFd) -> Result<(), Errno> {
    sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, MARK.cast_signed())
}

/// The socket that gets datagrams, and the one that answers them.
pub(crate) fn capture(family: AddressFamily) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let received = new_socket(family, SocketType::DGRAM, flags)?;
    let raw = socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))?;
    let set = |socket: &OwnedFd, level, name| sys::set_option(socket.as_fd(), level, name, 1);
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&received, true)?;
        set(&received, libc::SOL_IPV6, libc::IPV6_TRANSPARENT)?;
        set(&received, libc::SOL_IPV6, libc::IPV6_RECVORIGDSTADDR)?;
        set(&raw, libc::SOL_IPV6, libc::IPV6_HDRINCL)?;
        bind(&received, &SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))?;
    } else {
        set(&received, libc::SOL_IP, libc::IP_TRANSPARENT)?;
        set(&received, libc::SOL_IP, libc::IP_RECVORIGDSTADDR)?;
        bind(&received, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    }
    mark(&raw)?;
    Ok((received, raw))
}

/// A datagram that was meant for somebody outside, into `buffer`; `None` where it was for the socket itself, whose port
/// somebody inside found.
///
/// # Errors
/// `AGAIN` when there is none.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<(Ends, usize)>, Errno> {
    let (count, inside, outside) = sys::receive_with_target(socket, buffer)?;
    let meant = !outside.ip().is_loopback();
    Ok(meant.then_some((Ends { inside, outside }, count)))
}

/// Sends `payload` in, from the outside of `ends`.
pub(crate) fn deliver(raw: BorrowedFd<'_>, ends: Ends, payload: &[u8]) {
    let Some(udp) = segment(ends.outside, ends.inside, payload) else { return };
    write(raw, ends.outside.ip(), ends.inside.ip(), UDP, &udp);
}

/// Sends an ICMP error in: the port of the outside cannot be reached (RFC 792, RFC 4443). It holds the header of a datagram
/// that was sent, by which the kernel finds the socket that it came from.
pub(crate) fn reject(raw: BorrowedFd<'_>, ends: Ends) {
    const ICMP: u8 = 1;
    const ICMP6: u8 = 58;
    let Some(sent) = segment(ends.inside, ends.outside, &[]) else { return };
    let (from, to) = (ends.outside.ip(), ends.inside.ip());
    let Some(quoted) = packet(to, from, UDP, &sent) else { return };
    let v4 = from.is_ipv4();
    let mut error = if v4 { vec![3, 3, 0, 0, 0, 0, 0, 0] } else { vec![1, 4, 0, 0, 0, 0, 0, 0] };
    error.extend(quoted);
    let sum = if v4 { checksum(0, &error) } else { checksum(pseudo(from, to, ICMP6, error.len()), &error) };
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    write(raw, from, to, if v4 { ICMP } else { ICMP6 }, &error);
}

/// What finds no room is lost, as datagrams are.
fn write(raw: BorrowedFd<'_>, from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) {
    if let Some(packet) = packet(from, to, protocol, content) {
        // The port of a raw socket's address means nothing.
        let _ = sendto(raw, &packet, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, &SocketAddr::new(to, 0));
    }
}

/// A UDP header and `payload` (RFC 768).
fn segment(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(UDP_HEADER + payload.len()).ok()?;
    let mut bytes = Vec::with_capacity(usize::from(length));
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(payload);
    let sum = checksum(pseudo(from.ip(), to.ip(), UDP, bytes.len()), &bytes);
    // 0 would say that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
    Some(bytes)
}

/// An IP header and `content`; `None` for what is too long, or from one family to the other.
fn packet(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> Option<Vec<u8>> {
    const HOPS: u8 = 64;
    let mut bytes = Vec::with_capacity(40 + content.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(V4_HEADER + content.len()).ok()?;
            bytes.extend([0x45, 0]);
            bytes.extend(length.to_be_bytes());
            // No number, never in parts.
            bytes.extend([0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
            let sum = checksum(0, &bytes);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(u16::try_from(content.len()).ok()?.to_be_bytes());
            bytes.extend([protocol, HOPS]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        _ => return None,
    }
    bytes.extend_from_slice(content);
    Some(bytes)
}

/// The sum of what a checksum covers beside its own packet (RFC 768; RFC 8200, 8.1).
fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u64 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => sum(&ip.octets()),
        IpAddr::V6(ip) => sum(&ip.octets()),
    };
    octets(from) + octets(to) + u64::from(protocol) + length as u64
}

/// Of 16-bit words in network order; a last odd byte is the upper half of one.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last
}

/// The Internet checksum (RFC 1071) of `bytes` and of what was summed `before`.
fn checksum(before: u64, bytes: &[u8]) -> u16 {
    let mut total = before + sum(bytes);
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    !u16::try_from(total).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[path = "datagram_tests.rs"]
mod tests;
