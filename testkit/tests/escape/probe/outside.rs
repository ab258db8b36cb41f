//! Worlds that an attempt needs on the outside: a caller with a terminal, a machine with certain addresses.

use super::{Seen, calls::raw, sockets::GREETING};
use rustix::{
    fs::{Mode, OFlags},
    pty::OpenptFlags,
    thread::Pid,
};
use std::{
    fs,
    io::Write as _,
    mem::size_of,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
};

/// Becomes `program` in a session of its own that has a terminal; the three streams stay.
pub(super) fn with_terminal(program: &str, arguments: &[&str]) -> Seen {
    let text = |e: rustix::io::Errno| format!("cannot make a terminal: {e}");
    // It stays open: the terminal hangs up with its last controlling end.
    let controller = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).map_err(text)?;
    rustix::pty::grantpt(&controller).map_err(text)?;
    rustix::pty::unlockpt(&controller).map_err(text)?;
    let name = rustix::pty::ptsname(&controller, Vec::new()).map_err(text)?;
    // The caller leads a process group, so the session is led by a child.
    let mut command = Command::new(program);
    command.args(arguments);
    let enter = move || -> std::io::Result<()> {
        rustix::process::setsid()?;
        let end = rustix::fs::open(&name, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::process::ioctl_tiocsctty(&end)?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls on what it owns.
    unsafe { command.pre_exec(enter) };
    finish(&mut command)
}

/// Runs `command`, whose streams are this program's, and ends as it did.
#[expect(clippy::exit, reason = "the command's code is this program's, and it has said everything")]
fn finish(command: &mut Command) -> Seen {
    let status = command.status().map_err(|e| format!("cannot start: {e}"))?;
    match status.code() {
        Some(code) => std::process::exit(code),
        None => Err(format!("{status}")),
    }
}

/// Runs `program` in a network of its own that has `addresses` (with commas between) on its loopback, each of which greets at
/// port 8080.
pub(super) fn with_addresses(addresses: &str, program: &str, arguments: &[&str]) -> Seen {
    own_network()?;
    let addresses: Result<Vec<Ipv4Addr>, _> = addresses.split(',').map(str::parse).collect();
    let addresses = addresses.map_err(|e| format!("no address: {e}"))?;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?;
    let fd = usize::try_from(socket.as_raw_fd()).map_err(|e| e.to_string())?;
    up(fd, "lo")?;
    for (index, address) in addresses.into_iter().enumerate() {
        let alias = format!("lo:{}", index + 1);
        assign(fd, &alias, address)?;
        let listener = TcpListener::bind(SocketAddr::from((address, 8080))).map_err(|e| e.to_string())?;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _gone = stream.write_all(GREETING);
            }
        });
    }
    finish(Command::new(program).args(arguments))
}

/// As root plainly; as a user with a user namespace in which that user is still that user.
fn own_network() -> Result<(), String> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let net = usize::try_from(libc::CLONE_NEWNET).unwrap_or(0);
    let user = usize::try_from(libc::CLONE_NEWUSER).unwrap_or(0);
    let flags = if uid.is_root() { net } else { net | user };
    raw(libc::SYS_unshare, [flags, 0, 0, 0, 0, 0]).map_err(|e| format!("no network of our own: {e}"))?;
    if !uid.is_root() {
        let own = Pid::as_raw(Some(rustix::process::getpid()));
        let write = |file: &str, text: String| {
            fs::write(format!("/proc/{own}/{file}"), text).map_err(|e| format!("{file}: {e}"))
        };
        write("uid_map", format!("{0} {0} 1\n", uid.as_raw()))?;
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("{0} {0} 1\n", gid.as_raw()))?;
    }
    Ok(())
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: an all-zero ifreq is a valid value of that plain C struct.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request
}

fn up(socket: usize, name: &str) -> Result<(), String> {
    const SIOCSIFFLAGS: usize = 0x8914;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(1);
    let at = (&raw const request) as usize;
    raw(libc::SYS_ioctl, [socket, SIOCSIFFLAGS, at, 0, 0, 0]).map_err(|e| format!("{name}: {e}"))?;
    Ok(())
}

fn assign(socket: usize, name: &str, address: Ipv4Addr) -> Result<(), String> {
    const SIOCSIFADDR: usize = 0x8916;
    let mut request = request(name);
    let inet = libc::sockaddr_in {
        sin_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(2),
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
        sin_zero: [0; 8],
    };
    const { assert!(size_of::<libc::sockaddr_in>() == size_of::<libc::sockaddr>()) };
    // SAFETY: both are plain C structs of one size, and the family says which it is.
    request.ifr_ifru.ifru_addr = unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) };
    let at = (&raw const request) as usize;
    raw(libc::SYS_ioctl, [socket, SIOCSIFADDR, at, 0, 0, 0]).map_err(|e| format!("{name}: {e}"))?;
    Ok(())
}
