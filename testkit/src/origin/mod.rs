//! The world that a sandbox talks to in a test: servers of HTTP and TLS on loopback with a certificate authority and a
//! DNS of the test's own, which record exactly what arrives.
//!
//! Allowed servers are in one block of addresses and forbidden ones in another, so that a rule about addresses tells them
//! apart. They are at the usual ports where those may be had, else at high ones.

pub(crate) mod authority;
mod body;
mod connect;
mod dns;
mod front;
pub mod packages;
mod record;
mod routes;
mod server;
mod trap;

pub use authority::{Authority, Certificate};
pub use connect::{Asked, ConnectProxy};
pub use dns::{Dns, Question};
pub use front::{Came, Front, Gate};
pub use packages::Files;
pub use record::{Record, Seen};
pub use server::Origin;
pub use trap::Trap;

use crate::TestEnv;
use agentkernel_model::{Error, Result};
use server::Plan;
use std::{
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicU8, Ordering},
    thread::JoinHandle,
};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot};

/// Where a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    Allowed,
    Forbidden,
}

/// Which addresses servers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// 127.0.77.x and 127.0.88.x: inside a sandbox that is its own loopback.
    Loopback,
    /// 10.77.0.x and 10.88.0.x.
    Own,
}

impl Blocks {
    const fn address(self, net: Net, last: u8) -> Ipv4Addr {
        let block = match net {
            Net::Allowed => 77,
            Net::Forbidden => 88,
        };
        match self {
            Self::Loopback => Ipv4Addr::new(127, 0, block, last),
            Self::Own => Ipv4Addr::new(10, block, 0, last),
        }
    }
}

/// The world of one test. Dropping it ends everything in it.
#[derive(Debug)]
pub struct Site {
    blocks: Blocks,
    authority: Authority,
    dns: Dns,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// An authority, and a DNS that knows no name. Servers are on loopback: a sandbox reaches those through a proxy only.
    ///
    /// # Errors
    /// When no key can be made or no address be had.
    pub fn new() -> Result<Self> {
        Self::with(Blocks::Loopback)
    }

    /// In a network namespace whose loopback device has 10.77.0.0/16 and 10.88.0.0/16.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_own_network() -> Result<Self> {
        Self::with(Blocks::Own)
    }

    fn with(blocks: Blocks) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::io("cannot make a runtime for servers", e))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let authority = Authority::new("agentkernel test authority")?;
        let thread = std::thread::spawn(move || {
            // Either word ends it: a message, or the other end's drop.
            let _told = runtime.block_on(stopped);
        });
        let (stop, thread) = (Some(stop), Some(thread));
        let dns = Dns::start(&handle)?;
        Ok(Self { blocks, authority, dns, handle, stop, thread })
    }

    /// The addresses of `net`, as a rule names them.
    #[must_use]
    pub fn block(&self, net: Net) -> String {
        format!("{}/24", self.blocks.address(net, 0))
    }

    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    #[must_use]
    pub const fn dns(&self) -> &Dns {
        &self.dns
    }

    /// HTTPS for `names`, at an allowed address to which the DNS leads.
    ///
    /// # Errors
    /// When no address can be had.
    pub fn https(&self, names: &[&str]) -> Result<Origin> {
        self.tls(Net::Allowed, names, Certificate::Right, Files::default())
    }

    /// As [`Self::https`], of files beside the usual routes.
    ///
    /// # Errors
    /// As [`Self::https`].
    pub fn https_of(&self, names: &[&str], files: Files) -> Result<Origin> {
        self.tls(Net::Allowed, names, Certificate::Right, files)
    }

    /// HTTPS with everything said.
    ///
    /// # Errors
    /// As [`Self::https`].
    pub fn tls(&self, net: Net, names: &[&str], certificate: Certificate, files: Files) -> Result<Origin> {
        let config = self.authority.server(names, certificate)?;
        let origin = self.serve(net, 443, Plan { tls: Some(config), files })?;
        self.lead(names, &origin);
        Ok(origin)
    }

    /// HTTP in clear for `names`.
    ///
    /// # Errors
    /// As [`Self::https`].
    pub fn http(&self, net: Net, names: &[&str]) -> Result<Origin> {
        let origin = self.serve(net, 80, Plan { tls: None, files: Files::default() })?;
        self.lead(names, &origin);
        Ok(origin)
    }

    /// A listener that takes whatever comes, says nothing and records it.
    ///
    /// # Errors
    /// As [`Self::https`].
    pub fn trap(&self, net: Net, port: u16) -> Result<Trap> {
        let listener = self.listen(net, port)?;
        Trap::start(&self.handle, listener)
    }

    /// A trap at an address of the caller's choice, such as 127.0.0.1.
    ///
    /// # Errors
    /// When it is taken.
    pub fn trap_at(&self, address: SocketAddr) -> Result<Trap> {
        let _inside = self.handle.enter();
        let listener = bound(address).map_err(|e| Error::io(format!("cannot listen on {address}"), e))?;
        Trap::start(&self.handle, listener)
    }

    /// A proxy that reaches `routes` (`HOST:PORT`, and where that is) and nothing else. With `wanted`, only for those who send
    /// that as `Proxy-Authorization`.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn proxy(&self, routes: &[(&str, SocketAddr)], wanted: Option<&str>) -> Result<ConnectProxy> {
        ConnectProxy::start(&self.handle, self.loopback()?, routes, wanted)
    }

    /// TLS of this site's authority for `names` before the plain server at `behind`, for those whom `gate` lets in.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn front(&self, names: &[&str], behind: SocketAddr, gate: Gate) -> Result<Front> {
        let config = self.authority.server(names, Certificate::Right)?;
        Front::start(&self.handle, self.loopback()?, config, behind, gate)
    }

    /// A port of this machine's own.
    fn loopback(&self) -> Result<TcpListener> {
        let _inside = self.handle.enter();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        bound(any).map_err(|e| Error::io("cannot listen on a port of loopback", e))
    }

    fn lead(&self, names: &[&str], origin: &Origin) {
        for name in names {
            self.dns.set(name, &[origin.address().ip()]);
        }
    }

    fn serve(&self, net: Net, port: u16, plan: Plan) -> Result<Origin> {
        let listener = self.listen(net, port)?;
        Origin::start(&self.handle, listener, plan)
    }

    fn listen(&self, net: Net, port: u16) -> Result<TcpListener> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let port = if may_have(port) { port } else { 0 };
        let _inside = self.handle.enter();
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        // Other tests, and other processes that run tests, have addresses of the same block.
        for _ in 0..250 {
            let fourth = NEXT.fetch_add(1, Ordering::Relaxed).clamp(1, 250);
            let ip = IpAddr::V4(self.blocks.address(net, fourth));
            match bound(SocketAddr::new(ip, port)) {
                Ok(listener) => return Ok(listener),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => last = e,
                Err(e) => return Err(Error::io(format!("cannot listen on {ip}:{port}"), e)),
            }
        }
        Err(Error::io(format!("no address of {} has port {port} free", self.block(net)), last))
    }

    /// Has the gateways of this user believe the authority and ask the DNS.
    pub fn settings(&self, env: &TestEnv) -> PathBuf {
        env.directory("home/.config/agentkernel");
        let authority = env.file("home/.config/agentkernel/test-authority.pem", self.authority.pem());
        let mut text = String::new();
        let _infallible = writeln!(text, "ca_bundle = {:?}", authority.display().to_string());
        let _infallible = writeln!(text, "resolvers = [\"{}\"]", self.dns.address());
        env.file("home/.config/agentkernel/gateway.toml", text)
    }
}

/// Whether this user may listen on `port` in this network namespace.
fn may_have(port: u16) -> bool {
    const FIRST: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let first = std::fs::read_to_string(FIRST).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    rustix::process::geteuid().is_root() || port >= first
}

/// Within the runtime. Without SO_REUSEADDR, an address that another test left a moment ago would be no address.
fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed by then.
            let _joined = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
