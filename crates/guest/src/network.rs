//! The sandbox's network: a loopback, and with a gateway listeners in which every connection ends.
//!
//! All addresses are local to the sandbox's loopback, so nothing has a way out; nftables sends TCP of whatever address
//! to one listener and DNS to one socket, which the keeper serves from outside. What else is sent over UDP finds no
//! socket and is refused at once by the kernel's own ICMP error; or, where rules let some out, goes to a socket of its own.

use crate::{
    datagram,
    fault::Step,
    files,
    netlink::{Answer, Attributes, Batch, NLM_F_APPEND, NLM_F_CREATE},
    sys,
    wire::{Fault, Reply, send},
};
use agentkernel_model::egress::EgressRules;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, netlink, socket_with,
        sockopt,
    },
    time::Timespec,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Brings `lo` up, and nothing else: the network of a sandbox without one.
pub fn loopback() -> Result<(), Fault> {
    if crate::mutation::off("network-namespace") {
        return Ok(());
    }
    let what = || "bring the loopback up".to_owned();
    let socket = new_socket(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC).step(what)?;
    sys::loopback_up(socket.as_fd()).step(what)
}

/// What becomes of UDP that is no DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Udp {
    /// The sandbox's kernel rejects it.
    Rejected,
    /// It goes to the keeper.
    Captured,
}

impl Udp {
    /// As the rules of a sandbox need it.
    #[must_use]
    pub fn of(rules: &EgressRules) -> Self {
        if rules.let_udp_out() { Self::Captured } else { Self::Rejected }
    }
}

/// The loopback, and what catches everything, for IPv4, and for IPv6 where the kernel has it: of each family a listener of
/// TCP and a socket of DNS; where UDP is captured also the socket that gets it, and the one that answers it.
pub fn captured(other: Udp) -> Result<Vec<OwnedFd>, Fault> {
    loopback()?;
    let mut sockets = Vec::with_capacity(8);
    let mut rules = Vec::with_capacity(4);
    let mut steered = Vec::with_capacity(2);
    for family in [Family::V4, Family::V6] {
        let pair = capture(family);
        let (tcp, udp) = match (family, pair) {
            (_, Ok(pair)) => pair,
            (Family::V6, Err(_)) => continue,
            (Family::V4, Err(errno)) => return Err(Fault::new("open the gateway's listeners", errno)),
        };
        rules.push(redirect(
            family,
            Caught::Tcp,
            port_of(&tcp).step(|| "find a listener's port".to_owned())?,
        ));
        rules.push(redirect(
            family,
            Caught::Dns,
            port_of(&udp).step(|| "find a listener's port".to_owned())?,
        ));
        if other == Udp::Rejected {
            sockets.extend([tcp, udp]);
            continue;
        }
        let pair = datagram::capture(family.domain()).and_then(|(received, raw)| {
            // Its answers must not be taken for what the sandbox sends.
            datagram::mark(&udp)?;
            Ok((port_of(&received)?, [received, raw]))
        });
        let (port, pair) = pair.step(|| "capture the sandbox's UDP".to_owned())?;
        steered.push(steer(family, port));
        sockets.extend([tcp, udp]);
        sockets.extend(pair);
    }
    let with_v6 = rules.len() > 2;
    addresses(with_v6).commit(None).step(|| "route the sandbox's network".to_owned())?;
    if !crate::mutation::off("network-redirect") {
        firewall(rules, steered)
            .commit(Some(netlink::NETFILTER))
            .step(|| "redirect the sandbox's connections (nftables)".to_owned())?;
    }
    Ok(sockets)
}

/// A socket that is connecting to `port` of the sandbox's own loopback.
pub fn dial(port: u16) -> Result<OwnedFd, Fault> {
    let [first, second] = LOOPBACKS;
    let socket = begin_to_connect(first, port).or_else(|_| begin_to_connect(second, port));
    socket.step(|| format!("connect to port {port} inside"))
}

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn begin_to_connect(ip: IpAddr, port: u16) -> Result<OwnedFd, Errno> {
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = new_socket(family, SocketType::STREAM, flags)?;
    match connect(&socket, &SocketAddr::new(ip, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

/// [`dial`], and the wait for it, by a child of init. The answer goes to `answer` directly.
pub(crate) fn dial_apart(answer: &OwnedFd, port: u16) -> Result<(), Errno> {
    files::apart(answer, |answer| match connected(port) {
        Ok(socket) => send(answer, &Reply::Opened, &[socket.as_fd()]),
        Err(fault) => send(answer, &Reply::Refused(fault), &[]),
    })
}

fn connected(port: u16) -> Result<OwnedFd, Fault> {
    let limit = Timespec { tv_sec: 10, tv_nsec: 0 };
    let complete = |socket: OwnedFd| match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&limit))? {
        0 => Err(Errno::TIMEDOUT),
        _ => sockopt::socket_error(&socket)?.map(|()| socket),
    };
    let [first, second] = LOOPBACKS.map(|ip| move || begin_to_connect(ip, port));
    let connected = first().and_then(complete).or_else(|_| second().and_then(complete));
    connected.step(|| format!("connect to port {port} inside"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caught {
    Tcp,
    Dns,
}

impl Family {
    const fn domain(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::INET,
            Self::V6 => AddressFamily::INET6,
        }
    }

    const fn loopback(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

pub(crate) fn new_socket(
    family: AddressFamily,
    kind: SocketType,
    flags: SocketFlags,
) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, flags, None)
}

fn capture(family: Family) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (domain, ip) = (family.domain(), family.loopback());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let tcp = new_socket(domain, SocketType::STREAM, flags)?;
    let udp = new_socket(domain, SocketType::DGRAM, flags)?;
    for socket in [&tcp, &udp] {
        if family == Family::V6 {
            sockopt::set_ipv6_v6only(socket, true)?;
        }
        bind(socket, &SocketAddr::new(ip, 0))?;
    }
    // For all that it accepts. The way is a loopback: a machine's own choice may be one that paces what is sent by timers
    // (BBR does), which was a third of what moving bytes cost. This one is in every kernel; without it, it is slower.
    let _ = sockopt::set_tcp_congestion(&tcp, "reno");
    listen(&tcp, 1024)?;
    Ok((tcp, udp))
}

fn port_of(socket: &OwnedFd) -> Result<u16, Errno> {
    Ok(SocketAddr::try_from(getsockname(socket)?).map_err(|_| Errno::AFNOSUPPORT)?.port())
}

/// One address that is not loopback's, because resolvers ask for families of which there is such a one, and a local
/// route for everything.
fn addresses(with_v6: bool) -> Batch {
    const RTM_NEWADDR: u16 = 20;
    const RTM_NEWROUTE: u16 = 24;
    const LO: u32 = 1;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let mut batch = Batch::default();
    // TEST-NET-1 (RFC 5737) and the documentation prefix (RFC 3849): never anybody's.
    let v4 = Ipv4Addr::new(192, 0, 2, 2).octets();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).octets();
    let families: [(u8, &[u8]); 2] = [(AF_INET, &v4), (AF_INET6, &v6)];
    for (family, address) in families.into_iter().take(if with_v6 { 2 } else { 1 }) {
        let bits = u8::try_from(address.len() * 8).unwrap_or(32);
        // struct ifaddrmsg: family, prefix length, flags (IFA_F_NODAD 2), scope, interface.
        let mut fixed = vec![family, bits, 2, 0];
        fixed.extend(LO.to_ne_bytes());
        let attributes = Attributes::default().bytes(2, address).bytes(1, address);
        batch.message(RTM_NEWADDR, NLM_F_CREATE, Answer::Wanted, &fixed, attributes);
        // struct rtmsg: family, lengths, tos, table (local 255), protocol (boot 3), scope (host 254), type (local 2).
        let fixed = [family, 0, 0, 0, 255, 3, 254, 2, 0, 0, 0, 0];
        let attributes = Attributes::default().bytes(4, &LO.to_ne_bytes());
        batch.message(RTM_NEWROUTE, NLM_F_CREATE, Answer::Wanted, &fixed, attributes);
    }
    batch
}

const NFT_REG_1: u32 = 1;
const NFT_REG_2: u32 = 2;
const META_L4PROTO: u32 = 16;
const TABLE: &str = "agentkernel";
const CHAIN: &str = "out";
const STEERING: &str = "in";

/// A table with a nat chain on the output hook, and `rules` in it (linux/netfilter/nf_tables.h); and where there are any, with
/// `steered` in a chain on the prerouting hook, which on a loopback is behind the output.
fn firewall(rules: Vec<Attributes>, steered: Vec<Attributes>) -> Batch {
    const NFT: u16 = 10 << 8;
    const BATCH_BEGIN: u16 = 0x10;
    const BATCH_END: u16 = 0x11;
    const NEWTABLE: u16 = NFT;
    const NEWCHAIN: u16 = NFT | 3;
    const NEWRULE: u16 = NFT | 6;
    const INET: u8 = 1;
    const PREROUTING: u32 = 0;
    const LOCAL_OUT: u32 = 3;
    // Where nat of outgoing packets stands, and where packets are mangled that come in.
    const NAT: i32 = -100;
    const MANGLE: i32 = -150;
    // struct nfgenmsg: family, version, resource (big endian).
    let subsystem = [0, 0, 0, 10];
    let inet = [INET, 0, 0, 0];
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, Answer::None, &subsystem, Attributes::default());
    batch.message(NEWTABLE, NLM_F_CREATE, Answer::Wanted, &inet, Attributes::default().string(1, TABLE));
    let mut add = |name, kind, (hook, priority): (u32, i32), rules: Vec<Attributes>| {
        let hook = Attributes::default().be32(1, hook).be32(2, priority.cast_unsigned());
        let chain = Attributes::default().string(1, TABLE).string(3, name).nested(4, hook).string(7, kind);
        batch.message(NEWCHAIN, NLM_F_CREATE, Answer::Wanted, &inet, chain);
        for expressions in rules {
            let rule = Attributes::default().string(1, TABLE).string(2, name).nested(4, expressions);
            batch.message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, Answer::Wanted, &inet, rule);
        }
    };
    add(CHAIN, "nat", (LOCAL_OUT, NAT), rules);
    if !steered.is_empty() {
        add(STEERING, "filter", (PREROUTING, MANGLE), steered);
    }
    batch.message(BATCH_END, 0, Answer::None, &subsystem, Attributes::default());
    batch
}

/// "This family, not to loopback, this protocol: redirect to `port`."
fn redirect(family: Family, caught: Caught, port: u16) -> Attributes {
    const TRANSPORT: u32 = 2;
    let list = elsewhere(family);
    let list = match caught {
        Caught::Tcp => equal(meta(list, META_L4PROTO), &[6]),
        Caught::Dns => {
            let list = equal(meta(list, META_L4PROTO), &[17]);
            equal(payload(list, TRANSPORT, 2, 2), &53_u16.to_be_bytes())
        }
    };
    let list = immediate(list, NFT_REG_1, &port.to_be_bytes());
    expression(list, "redir", Attributes::default().be32(1, NFT_REG_1))
}

/// "This family, not to loopback, UDP, and none of ours: to the socket at `port`, as it is."
fn steer(family: Family, port: u16) -> Attributes {
    const META_MARK: u32 = 3;
    let list = equal(meta(elsewhere(family), META_L4PROTO), &[17]);
    let list = differs(meta(list, META_MARK), &datagram::MARK.to_ne_bytes());
    let list = match family.loopback() {
        IpAddr::V4(ip) => immediate(list, NFT_REG_2, &ip.octets()),
        IpAddr::V6(ip) => immediate(list, NFT_REG_2, &ip.octets()),
    };
    let list = immediate(list, NFT_REG_1, &port.to_be_bytes());
    let to = Attributes::default().be32(1, number(family)).be32(2, NFT_REG_2).be32(3, NFT_REG_1);
    expression(list, "tproxy", to)
}

/// "This family, not to loopback."
fn elsewhere(family: Family) -> Attributes {
    const META_NFPROTO: u32 = 15;
    const NETWORK: u32 = 1;
    let list = meta(Attributes::default(), META_NFPROTO);
    let list = equal(list, &[u8::try_from(number(family)).unwrap_or(0)]);
    match family {
        Family::V4 => differs(payload(list, NETWORK, 16, 1), &[127]),
        Family::V6 => differs(payload(list, NETWORK, 24, 16), &Ipv6Addr::LOCALHOST.octets()),
    }
}

/// As netfilter counts them.
const fn number(family: Family) -> u32 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

fn immediate(list: Attributes, register: u32, value: &[u8]) -> Attributes {
    let value = Attributes::default().bytes(1, value);
    expression(list, "immediate", Attributes::default().be32(1, register).nested(2, value))
}

fn expression(list: Attributes, name: &str, data: Attributes) -> Attributes {
    list.nested(1, Attributes::default().string(1, name).nested(2, data))
}

fn meta(list: Attributes, key: u32) -> Attributes {
    expression(list, "meta", Attributes::default().be32(2, key).be32(1, NFT_REG_1))
}

fn payload(list: Attributes, base: u32, offset: u32, length: u32) -> Attributes {
    let data = Attributes::default().be32(1, NFT_REG_1).be32(2, base).be32(3, offset).be32(4, length);
    expression(list, "payload", data)
}

fn equal(list: Attributes, value: &[u8]) -> Attributes {
    compare(list, 0, value)
}

fn differs(list: Attributes, value: &[u8]) -> Attributes {
    compare(list, 1, value)
}

fn compare(list: Attributes, operation: u32, value: &[u8]) -> Attributes {
    let value = Attributes::default().bytes(1, value);
    expression(list, "cmp", Attributes::default().be32(1, NFT_REG_1).be32(2, operation).nested(3, value))
}
