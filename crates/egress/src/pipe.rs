//! Bytes that go from one socket to another without passing through this process: splice(2).

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};
use tokio::{
    io::{Interest, Ready},
    net::{TcpStream, UnixStream},
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Pipes of one gateway. Each takes 1 MiB of the 64 MiB that all pipes of a user have (pipe(7), pipe-user-pages-soft).
pub(crate) const MOST: usize = 8;
/// What anybody may have. The usual 64 KiB are no faster than copying: a pipe has a place for each page or more of a
/// packet, and those of a small one are full before the bytes are worth the call.
const SIZE: usize = 1024 * 1024;
/// So little at once is as well copied, and a pipe is better given to others.
const LITTLE: usize = 2 * 1024;
/// Without a byte for so long, too.
const SILENCE: Duration = Duration::from_millis(100);

/// What splice(2) can read and write.
#[derive(Clone, Copy)]
pub(crate) enum Socket<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
}

impl Socket<'_> {
    async fn ready(self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(socket) => socket.ready(interest).await,
            Self::Unix(socket) => socket.ready(interest).await,
        }
    }

    fn try_splice(self, interest: Interest, step: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_io(interest, step),
            Self::Unix(socket) => socket.try_io(interest, step),
        }
    }
}

impl AsFd for Socket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// How it ended that a pipe carried what one socket said to another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    /// The one has finished.
    All,
    /// Little comes now.
    Much,
    /// The kernel does not do this here.
    Nothing,
}

/// Why one direction broke off.
#[derive(Debug)]
pub(crate) enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Empty whenever nobody carries.
pub(crate) struct Pipe<'a> {
    end: OwnedFd,
    begin: OwnedFd,
    _permit: SemaphorePermit<'a>,
}

impl<'a> Pipe<'a> {
    /// `budget` has [`MOST`] permits. `None` where there is none left, or the kernel gives none of this size.
    pub(crate) fn open(budget: &'a Semaphore) -> Option<Self> {
        let permit = budget.try_acquire().ok()?;
        let (end, begin) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        fcntl_setpipe_size(&begin, SIZE).ok()?;
        Some(Self { end, begin, _permit: permit })
    }

    /// Carries while much comes; tells `moved` of what has arrived.
    pub(crate) async fn carry(
        &self,
        from: Socket<'_>,
        to: Socket<'_>,
        mut moved: impl FnMut(usize),
    ) -> Result<Carried, Fault> {
        let mut is_first = true;
        loop {
            let taken = match self.take(from) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    match timeout(SILENCE, from.ready(Interest::READABLE)).await {
                        Ok(ready) => ready.map_err(Fault::Reading)?,
                        Err(_) => return Ok(Carried::Much),
                    };
                    continue;
                }
                Err(e) if is_first && is_unknown(&e) => return Ok(Carried::Nothing),
                taken => taken.map_err(Fault::Reading)?,
            };
            if taken == 0 {
                return Ok(Carried::All);
            }
            is_first = false;
            self.give(taken, to, &mut moved).await.map_err(Fault::Writing)?;
            if taken <= LITTLE {
                return Ok(Carried::Much);
            }
        }
    }

    fn take(&self, from: Socket<'_>) -> io::Result<usize> {
        from.try_splice(Interest::READABLE, || step(from, &self.begin, SIZE))
    }

    /// All of the `rest` that is in it.
    async fn give(&self, mut rest: usize, to: Socket<'_>, moved: &mut impl FnMut(usize)) -> io::Result<()> {
        while rest > 0 {
            match to.try_splice(Interest::WRITABLE, || step(&self.end, to, rest)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest -= count;
                    moved(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    to.ready(Interest::WRITABLE).await?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn step(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    loop {
        match splice(&from, None, &to, None, most, SpliceFlags::NONBLOCK) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Of a kernel that has no splice for these, or a filter of system calls that lets none through.
fn is_unknown(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::PERM].map(|e| Some(e.raw_os_error())).contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    const PLENTY: usize = 5 * SIZE + 12_345;

    fn pattern() -> Vec<u8> {
        (0..PLENTY).map(|place| (place % 251) as u8).collect()
    }

    async fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// All of it, whole and counted, between what `from` and `to` are the far ends of.
    async fn whole(
        mut source: impl AsyncWriteExt + Unpin,
        from: Socket<'_>,
        to: Socket<'_>,
        mut sink: impl AsyncReadExt + Unpin,
    ) {
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap();
        let (bytes, counted) = (pattern(), AtomicUsize::new(0));
        let carry = pipe.carry(from, to, |count| {
            counted.fetch_add(count, Ordering::Relaxed);
        });
        let write = async {
            source.write_all(&bytes).await.unwrap();
            source.shutdown().await.unwrap();
        };
        let mut seen = vec![0; PLENTY];
        let (carried, (), read) = tokio::join!(carry, write, sink.read_exact(&mut seen));
        read.unwrap();
        assert!(seen == bytes);
        assert_eq!(counted.into_inner(), PLENTY);
        // The last piece can be a small one, behind which the end is not seen yet.
        assert!(matches!(carried.unwrap(), Carried::All | Carried::Much));
    }

    #[tokio::test]
    async fn all_arrives_in_order_between_sockets_of_both_kinds() {
        let ((source, from), (to, sink)) = (tcp().await, tcp().await);
        whole(source, Socket::Tcp(&from), Socket::Tcp(&to), sink).await;
        let ((source, from), (to, sink)) = (UnixStream::pair().unwrap(), tcp().await);
        whole(source, Socket::Unix(&from), Socket::Tcp(&to), sink).await;
        let ((source, from), (to, sink)) = (tcp().await, UnixStream::pair().unwrap());
        whole(source, Socket::Tcp(&from), Socket::Unix(&to), sink).await;
    }

    #[tokio::test]
    async fn it_is_given_back_when_little_comes() {
        let ((mut source, from), (to, mut sink)) = (tcp().await, tcp().await);
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap();
        assert!(Pipe::open(&budget).is_none());
        let silent = pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), |_| ()).await;
        assert_eq!(silent.unwrap(), Carried::Much);
        source.write_all(b"little").await.unwrap();
        let little = pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), |_| ()).await;
        assert_eq!(little.unwrap(), Carried::Much);
        let mut seen = [0; 6];
        sink.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"little");
        drop(pipe);
        assert!(Pipe::open(&budget).is_some());
    }

    #[tokio::test]
    async fn whose_fault_it_is_is_told() {
        let ((mut source, from), (to, sink)) = (tcp().await, tcp().await);
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap();
        drop(sink);
        let carry = pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), |_| ());
        let write = async {
            let bytes = pattern();
            // Until nobody takes any more.
            let _ = source.write_all(&bytes).await;
        };
        tokio::select! {
            carried = carry => assert!(matches!(carried, Err(Fault::Writing(_)))),
            () = write => panic!("nobody reads"),
        }
    }
}
