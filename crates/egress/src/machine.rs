//! What the kernel of this machine says about addresses: which ones are its own, which networks it is on, and whether it has a
//! road to IPv6.

use crate::{ranges, shortage::Shortage};
use agentkernel_model::{Error, Result, cidr::Cidr};
use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    sys::socket::SockaddrStorage,
};
use std::{
    fs, io,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long a list of networks is believed: a machine with a thousand interfaces takes milliseconds to list them.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses on the interfaces of this machine, in the network namespace of this process, at this moment
/// (getifaddrs(3), which is netlink on Linux).
///
/// # Errors
/// When the kernel does not list them: without them nothing may be forwarded.
pub fn own_addresses() -> Result<Vec<IpAddr>> {
    list_addresses().map_err(|e| Error::io("cannot list the addresses of this machine", e))
}

fn list_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(getifaddrs()?.filter_map(|interface| address(&interface.address?)).collect())
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

/// Whether `ip` is for the public, and neither this machine's own nor on a network of it, as of now.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    let near = || list_networks().map(|networks| hold(&networks, ip));
    ranges::refusal(ip).is_none() && !is_own(ip).unwrap_or(true) && !near().unwrap_or(true)
}

/// The networks that this machine is on: those that its interfaces have an address and a netmask of.
#[derive(Debug, Default)]
pub(crate) struct Networks(Mutex<Option<(Instant, Vec<Cidr>)>>);

impl Networks {
    /// Whether a connection to `ip` would end on one of them.
    ///
    /// # Errors
    /// When the kernel does not list its interfaces.
    pub(crate) fn hold(&self, ip: IpAddr) -> io::Result<bool> {
        // Nothing panics while it is held.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some((since, networks)) if since.elapsed() < FRESH => Ok(hold(networks, ip)),
            _ => {
                let (_, networks) = known.insert((Instant::now(), list_networks()?));
                Ok(hold(networks, ip))
            }
        }
    }
}

fn hold(networks: &[Cidr], ip: IpAddr) -> bool {
    let ip = ranges::destination(ip);
    networks.iter().any(|network| network.contains(ip))
}

fn list_networks() -> io::Result<Vec<Cidr>> {
    Ok(getifaddrs()?.filter_map(network_of).collect())
}

fn network_of(interface: InterfaceAddress) -> Option<Cidr> {
    let (own, mask) = (address(&interface.address?)?, address(&interface.netmask?)?);
    match interface.destination.as_ref().and_then(address).filter(|peer| *peer != own) {
        None => network(own, mask),
        // With one other end: Linux has its network behind it, elsewhere the mask says nothing.
        Some(peer) if cfg!(target_os = "linux") => network(peer, mask),
        Some(_) => None,
    }
}

/// `None` where there is nobody else on it, and where it would be the whole world.
fn network(ip: IpAddr, mask: IpAddr) -> Option<Cidr> {
    let (prefix, width) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), 32),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), 128),
    };
    let prefix = u8::try_from(prefix).ok().filter(|prefix| (1..width).contains(prefix))?;
    Cidr::around(ip, prefix)
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
    fn a_network_is_what_shares_the_mask() {
        let network = |ip: &str, mask: &str| network(ip.parse().unwrap(), mask.parse().unwrap());
        assert_eq!(network("93.184.215.14", "255.255.255.0"), "93.184.215.0/24".parse().ok());
        assert_eq!(
            network("2606:4700::1111", "ffff:ffff:ffff:ffff::"),
            "2606:4700::/64".parse().ok(),
            "as routers announce it"
        );
        assert_eq!(network("93.184.215.14", "255.255.255.255"), None, "nobody else");
        assert_eq!(network("93.184.215.14", "0.0.0.0"), None, "everybody");
        let networks = [network("93.184.215.14", "255.255.255.0").unwrap()];
        assert!(hold(&networks, "::ffff:93.184.215.1".parse().unwrap()));
        assert!(hold(&networks, "64:ff9b::93.184.215.1".parse().unwrap()));
        assert!(!hold(&networks, "93.184.216.1".parse().unwrap()));
    }

    #[test]
    fn the_loopback_network_is_listed() {
        assert!(Networks::default().hold("127.9.8.7".parse().unwrap()).unwrap());
        assert!(!Networks::default().hold("2001:4860:4860::8888".parse().unwrap()).unwrap());
    }

    #[test]
    fn addresses_of_others_are_not_own() {
        for ip in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(!is_own(ip.parse().unwrap()).unwrap(), "{ip}");
        }
    }
}
