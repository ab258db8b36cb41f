//! Bytes between a sandbox and the outside, both ways, in constant memory.

use crate::{
    buffer::{self, Buffer},
    observer::{Counter, Ledger, Outcome},
    pipe::{self, Carried, Pipe, Socket},
};
use agentkernel_backend::ByteStream;
use std::{any::Any, io, pin::pin};
use tokio::{
    io::{self as tio, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream, tcp, unix},
    sync::{Semaphore, watch},
};

/// What the busy connections of one gateway share.
pub(crate) struct Budgets {
    /// A permit for each wide [`Buffer`].
    buffers: Semaphore,
    /// A permit for each [`Pipe`].
    pipes: Semaphore,
}

impl Budgets {
    pub(crate) const fn new() -> Self {
        Self { buffers: Semaphore::const_new(buffer::MOST_WIDE), pipes: Semaphore::const_new(pipe::MOST) }
    }
}

/// Why one direction broke off.
#[derive(Debug)]
pub(crate) enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies `seen`, which the sandbox said already, and then until both sides have finished, or one broke off. The end of one direction is passed on and leaves the other
/// open, but for a sandbox that has `ended`: nobody is left to read. Dropping the future closes both sides.
pub(crate) async fn pump(
    mut inside: Box<dyn ByteStream>,
    seen: Vec<u8>,
    mut outside: TcpStream,
    ledger: &Ledger,
    budgets: &Budgets,
    ended: watch::Receiver<bool>,
) -> Outcome {
    let outside = outside.split();
    let between = Between { ledger, budgets, ended };
    let result = if let Some(socket) = itself::<TcpStream>(&mut inside) {
        between.carry(seen, socket.split(), outside).await
    } else if let Some(socket) = itself::<UnixStream>(&mut inside) {
        between.carry(seen, socket.split(), outside).await
    } else {
        between.carry(seen, tio::split(inside), outside).await
    };
    match result {
        Ok(()) => Outcome::Closed,
        Err(Fault::Reading(e) | Fault::Writing(e)) => Outcome::Broken(e.kind()),
    }
}

/// What is in the box, where it is one of these.
fn itself<T: Any>(io: &mut Box<dyn ByteStream>) -> Option<&mut T> {
    let any: &mut dyn Any = &mut **io;
    any.downcast_mut()
}

struct Between<'a> {
    ledger: &'a Ledger,
    budgets: &'a Budgets,
    ended: watch::Receiver<bool>,
}

impl Between<'_> {
    async fn carry(
        mut self,
        seen: Vec<u8>,
        inside: (impl Reading, impl Writing),
        outside: (impl Reading, impl Writing),
    ) -> Result<(), Fault> {
        let mut upload = pin!(copy(seen, inside.0, outside.1, &self.ledger.sent, self.budgets));
        let mut download = pin!(copy(Vec::new(), outside.0, inside.1, &self.ledger.received, self.budgets));
        tokio::select! {
            up = &mut upload => match up {
                Ok(()) => tokio::select! {
                    down = download => down,
                    _ = self.ended.wait_for(|ended| *ended) => Ok(()),
                },
                // A server that answers early and hangs up: what it said is still to be read.
                Err(Fault::Writing(e)) => download.await.and(Err(Fault::Writing(e))),
                Err(fault) => Err(fault),
            },
            down = &mut download => match down {
                Ok(()) => upload.await,
                Err(fault) => Err(fault),
            },
        }
    }
}

async fn copy(
    first: Vec<u8>,
    mut from: impl Reading,
    mut to: impl Writing,
    counter: &Counter,
    budgets: &Budgets,
) -> Result<(), Fault> {
    give(&first, &mut to, counter).await?;
    drop(first);
    let mut buffer = Buffer::new(&budgets.buffers);
    let mut can_splice = true;
    loop {
        if can_splice
            && buffer.is_wide()
            && let (Some(source), Some(sink)) = (from.socket(), to.socket())
            && let Some(pipe) = Pipe::open(&budgets.pipes)
        {
            let Ok(pipe) = pipe else {
                can_splice = false;
                continue;
            };
            buffer = Buffer::new(&budgets.buffers);
            match pipe.carry(source, sink, |count| counter.add(count)).await? {
                Carried::All => break,
                Carried::Much => {}
                Carried::Stuck(rest) => {
                    let (rest, _permit) = pipe.empty(rest).map_err(Fault::Writing)?;
                    give(&rest, &mut to, counter).await?;
                }
                Carried::Nothing => can_splice = false,
            }
        }
        let count = from.read(&mut buffer.bytes).await.map_err(Fault::Reading)?;
        let Some(bytes) = buffer.bytes.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        give(bytes, &mut to, counter).await?;
        buffer.adapt(count);
    }
    match to.shutdown().await {
        // The other side is gone already: there is nobody left to tell.
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
        Err(e) => Err(Fault::Writing(e)),
        Ok(()) => Ok(()),
    }
}

async fn give(bytes: &[u8], to: &mut impl Writing, counter: &Counter) -> Result<(), Fault> {
    to.write_all(bytes).await.map_err(Fault::Writing)?;
    to.flush().await.map_err(Fault::Writing)?;
    counter.add(bytes.len());
    Ok(())
}

/// One direction of a connection.
trait Half {
    /// Where it is one as it is.
    fn socket(&self) -> Option<Socket<'_>>;
}

trait Reading: AsyncRead + Unpin + Half {}
impl<T: AsyncRead + Unpin + Half> Reading for T {}
trait Writing: AsyncWrite + Unpin + Half {}
impl<T: AsyncWrite + Unpin + Half> Writing for T {}

macro_rules! halves {
    ($($half:ty => |$it:ident| $socket:expr;)*) => {
        $(impl Half for $half {
            fn socket(&self) -> Option<Socket<'_>> {
                let $it = self;
                $socket
            }
        })*
    };
}
halves! {
    tcp::ReadHalf<'_> => |half| Some(Socket::Tcp(half.as_ref()));
    tcp::WriteHalf<'_> => |half| Some(Socket::Tcp(half.as_ref()));
    unix::ReadHalf<'_> => |half| Some(Socket::Unix(half.as_ref()));
    unix::WriteHalf<'_> => |half| Some(Socket::Unix(half.as_ref()));
    tio::ReadHalf<Box<dyn ByteStream>> => |_half| None;
    tio::WriteHalf<Box<dyn ByteStream>> => |_half| None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentkernel_model::egress::Protocol;
    use std::time::Duration;
    use tokio::{net::TcpListener, time::timeout};

    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 32;

    async fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// What is sent while there are `pipes`, and whether a connection had one of them meanwhile.
    async fn sent_with(pipes: usize) -> bool {
        let ((mut client, inside), (outside, mut server)) = (tcp().await, tcp().await);
        let budgets = Budgets { buffers: Semaphore::new(1), pipes: Semaphore::new(pipes) };
        let ledger = Ledger::open(None, "192.0.2.1:1".parse().unwrap(), Protocol::Tcp);
        let (_running, ended) = watch::channel(false);
        let mut had_one = false;
        let talk = async {
            let write = async {
                for block in 0..BLOCKS {
                    server.write_all(&vec![block as u8; BLOCK]).await.unwrap();
                }
            };
            let read = async {
                let mut seen = vec![0; BLOCK];
                for block in 0..BLOCKS {
                    client.read_exact(&mut seen).await.unwrap();
                    assert!(seen.iter().all(|byte| *byte == block as u8));
                    had_one |= budgets.pipes.available_permits() < pipes;
                }
            };
            tokio::join!(write, read);
            // It is given back while the connection stays open.
            drop(budgets.pipes.acquire_many(u32::try_from(pipes).unwrap()).await.unwrap());
            client.write_all(b"bye").await.unwrap();
            client.shutdown().await.unwrap();
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"hibye");
            drop(server);
        };
        let pumped = async {
            tokio::join!(pump(Box::new(inside), b"hi".to_vec(), outside, &ledger, &budgets, ended), talk).0
        };
        assert_eq!(timeout(Duration::from_secs(60), pumped).await.unwrap(), Outcome::Closed);
        assert_eq!((ledger.sent.get(), ledger.received.get()), (5, (BLOCKS * BLOCK) as u64));
        had_one
    }

    #[tokio::test]
    async fn a_busy_connection_has_a_pipe_until_it_is_quiet() {
        assert!(sent_with(1).await);
    }

    #[tokio::test]
    async fn without_a_pipe_it_is_copied() {
        assert!(!sent_with(0).await);
    }
}
