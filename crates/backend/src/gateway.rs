//! The road out of a sandbox: the driver makes an [`Uplink`], the engine's gateway serves it.

use async_trait::async_trait;
use std::{
    any::Any,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// The name server that a sandbox is told about. Any address would do, since DNS to whatever address ends in the
/// gateway; this one is of TEST-NET-1 (RFC 5737), so it can belong to nobody.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

/// A connected stream of bytes. What it is can be asked ([`Any`]): between two sockets the kernel moves bytes by itself.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Any {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + Any> ByteStream for T {}

/// A TCP connection that the sandbox opened.
pub struct Flow {
    /// Where the sandbox meant to go.
    pub original_dst: SocketAddr,
    pub io: Box<dyn ByteStream>,
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("original_dst", &self.original_dst).finish_non_exhaustive()
    }
}

/// A DNS datagram that the sandbox sent (UDP to port 53, wherever it was addressed).
#[derive(Debug)]
pub struct Datagram {
    pub peer: SocketAddr,
    pub payload: Vec<u8>,
}

/// Any other datagram. Only a sandbox whose rules let UDP out has them: elsewhere its own kernel rejects them with an ICMP error.
#[derive(Debug)]
pub struct Packet {
    pub ends: Ends,
    pub payload: Vec<u8>,
}

/// Between what a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The sandbox's.
    pub inside: SocketAddr,
    /// Where the sandbox meant to go.
    pub outside: SocketAddr,
}

/// All traffic of one sandbox. Made by a driver, consumed by a gateway; ends when the sandbox does.
#[async_trait]
pub trait Uplink: Send + Sync {
    /// The next connection. Cancel safe.
    ///
    /// # Errors
    /// When the sandbox is gone, or the process is out of descriptors; the caller may try again.
    async fn accept(&self) -> io::Result<Flow>;

    /// How many connections there can be at once, whatever a gateway would serve.
    fn most_connections(&self) -> usize {
        usize::MAX
    }

    /// The next DNS datagram, at most 4,096 bytes. Cancel safe.
    ///
    /// # Errors
    /// As [`Uplink::accept`].
    async fn receive(&self) -> io::Result<Datagram>;

    /// Answers `peer`. A peer that is gone is no error.
    ///
    /// # Errors
    /// When the sandbox is gone.
    async fn reply(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()>;

    /// The next datagram that is no question of DNS; none ever comes where UDP is not let out. Cancel safe.
    ///
    /// # Errors
    /// As [`Uplink::accept`].
    async fn packet(&self) -> io::Result<Packet>;

    /// Gives `payload` to the inside as if the outside had sent it. What finds no room is lost, as datagrams are.
    fn deliver(&self, ends: Ends, payload: &[u8]);

    /// Tells the inside that nobody takes what it sent: an ICMP error, port unreachable.
    fn reject(&self, ends: Ends);
}

/// The engine's side of the seam: serves an uplink until it ends.
pub trait Gateway: Send + Sync + fmt::Debug {
    /// Takes the traffic over. Must not block; work goes to tasks that end with the uplink or with the gateway.
    fn serve(&self, uplink: Box<dyn Uplink>);
}
