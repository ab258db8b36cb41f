//! What the kernel of this machine says about addresses: which ones are its own, and whether it has a road to IPv6.

use crate::{ranges, shortage::Shortage};
use agentkernel_model::{Error, Result};
use nix::ifaddrs::getifaddrs;
use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// The addresses on the interfaces of this machine, in the network namespace of this process, at this moment
/// (getifaddrs(3), which is netlink on Linux).
///
/// # Errors
/// When the kernel does not list them: without them nothing may be forwarded.
pub fn own_addresses() -> Result<Vec<IpAddr>> {
    list_addresses().map_err(|e| Error::io("cannot list the addresses of this machine", e))
}

fn list_addresses() -> io::Result<Vec<IpAddr>> {
    let storages = getifaddrs()?.filter_map(|interface| interface.address);
    Ok(storages
        .filter_map(|storage| {
            let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect())
}

/// Whether `ip` is for the public, and not this machine's own, as of now.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    ranges::refusal(ip).is_none() && !is_own(ip).unwrap_or(true)
}

/// Whether a connection to `ip` would end on this machine, as of now: addresses come and go while a sandbox runs, and
/// local routes cover addresses that no interface lists. What cannot be told counts as this machine.
///
/// The question is asked by binding a socket, which the kernel lets happen for local addresses only, except where an
/// administrator said otherwise (`ip_nonlocal_bind`); there the interfaces are read again, and local routes that no
/// interface lists go unseen. Nothing is sent.
///
/// # Errors
/// When there is nothing left to ask by, or the kernel does not list its interfaces.
pub(crate) fn is_own(ip: IpAddr) -> io::Result<bool> {
    let ip = ranges::destination(ip);
    Ok(match UdpSocket::bind((ip, 0)) {
        // The second is a kernel without IPv6: no address of the family is its own.
        Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => false,
        Err(e) if e.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => false,
        Err(e) if Shortage::of(&e).is_some() => return Err(e),
        Err(_) => true,
        Ok(_) if binds_foreign_addresses(ip) => list_addresses()?.contains(&ip),
        Ok(_) => true,
    })
}

/// The setting exists on Linux only; elsewhere there is no file and no such bind.
fn binds_foreign_addresses(ip: IpAddr) -> bool {
    let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"))
        .is_ok_and(|text| text.trim() == "1")
}

/// Whether the routing table leads to global IPv6 addresses. Connecting a UDP socket looks the route up and sends
/// nothing.
pub(crate) fn has_ipv6_road() -> bool {
    let somewhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 1)), 53);
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect(somewhere)).is_ok()
}

/// The number of the interface `name`, which link-local resolvers are written with.
pub(crate) fn interface_index(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn the_loopback_addresses_are_listed() {
        let own = own_addresses().unwrap();
        assert!(own.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
    }

    #[test]
    fn every_listed_address_is_own_and_so_are_local_routes_without_one() {
        // A link-local address binds only with its interface, which counts as "cannot be told": own.
        for ip in own_addresses().unwrap() {
            assert!(is_own(ip).unwrap(), "{ip}");
        }
        // 127.0.0.0/8 is a local route; only 127.0.0.1 is on the interface.
        if binds_foreign_addresses(Ipv4Addr::LOCALHOST.into()) {
            return;
        }
        assert!(is_own("127.9.8.7".parse().unwrap()).unwrap());
        assert!(is_own("::ffff:127.9.8.7".parse().unwrap()).unwrap());
        assert!(is_own("64:ff9b::127.9.8.7".parse().unwrap()).unwrap());
    }

    #[test]
    fn addresses_of_others_are_not_own() {
        for ip in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(!is_own(ip.parse().unwrap()).unwrap(), "{ip}");
        }
    }
}
