//! Bytes that go from one socket to another without passing through this process: splice(2).
//!
//! Writing to a socket that is closed raises SIGPIPE here, and no flag says otherwise: it is ignored in every Rust program
//! and has to stay so.

use crate::pump::Fault;
use rustix::{
    io::{Errno, read},
    net::{RecvFlags, recv},
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
    task::yield_now,
    time::timeout,
};

/// Pipes of one gateway. Each takes 1 MiB of the 64 MiB that all pipes of a user have (pipe(7), pipe-user-pages-soft).
pub(crate) const MOST: usize = 4;
/// What anybody may have. The usual 64 KiB are no faster than copying: a pipe has a place for each page or more of a
/// packet, and those of a small one are full before the bytes are worth the call.
const SIZE: usize = 1024 * 1024;
/// So little at once is as well copied, and a pipe is better given to others.
const LITTLE: usize = 2 * 1024;
/// Without a byte for so long, or without room for one, too.
const SILENCE: Duration = Duration::from_millis(100);
/// What a round counts for at least: its calls cost as much as copying this does.
const ROUND: usize = 64 * 1024;

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

    fn try_io<T>(self, interest: Interest, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
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
    /// Little comes now, or what only recv(2) gets over: the mark of urgent data.
    Much,
    /// The other takes nothing now. So many bytes are in the pipe, see [`Pipe::empty`].
    Stuck(usize),
    /// The kernel does not do this here.
    Nothing,
}

/// What was read of a socket.
enum Taken {
    Bytes(usize),
    Mark,
    End,
}

/// Empty whenever nobody carries and nobody is stuck.
pub(crate) struct Pipe<'a> {
    end: OwnedFd,
    begin: OwnedFd,
    permit: SemaphorePermit<'a>,
}

impl<'a> Pipe<'a> {
    /// `budget` has [`MOST`] permits. `None` where there is none left.
    ///
    /// # Errors
    /// When the kernel gives none of this size: the user has many, or there is no descriptor.
    pub(crate) fn open(budget: &'a Semaphore) -> Option<io::Result<Self>> {
        let permit = budget.try_acquire().ok()?;
        let open = || {
            let (end, begin) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            fcntl_setpipe_size(&begin, SIZE)?;
            Ok(Self { end, begin, permit })
        };
        Some(open())
    }

    /// Carries while much comes; tells `moved` of what has arrived.
    pub(crate) async fn carry(
        &self,
        from: Socket<'_>,
        to: Socket<'_>,
        mut moved: impl FnMut(usize),
    ) -> Result<Carried, Fault> {
        let (mut is_first, mut since_pause) = (true, 0);
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
            let taken = match taken {
                Taken::End => return Ok(Carried::All),
                Taken::Mark => return Ok(Carried::Much),
                Taken::Bytes(count) => count,
            };
            is_first = false;
            let rest = self.give(taken, to, &mut moved).await.map_err(Fault::Writing)?;
            if rest > 0 {
                return Ok(Carried::Stuck(rest));
            }
            if taken <= LITTLE {
                return Ok(Carried::Much);
            }
            since_pause += taken.max(ROUND);
            if since_pause >= SIZE {
                since_pause = 0;
                // Nothing above waits while both ends are quick, and others live on this thread.
                yield_now().await;
            }
        }
    }

    fn take(&self, from: Socket<'_>) -> io::Result<Taken> {
        from.try_io(Interest::READABLE, || match step(from, &self.begin, SIZE) {
            Ok(count) if count > 0 => Ok(Taken::Bytes(count)),
            // It stops at urgent data for ever, as if nothing were there or all were over.
            Ok(_) if has_more(from) => Ok(Taken::Mark),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && has_more(from) => Ok(Taken::Mark),
            Ok(_) => Ok(Taken::End),
            Err(e) => Err(e),
        })
    }

    /// All of the `rest` that is in it, or until there is no room for long: what is left then.
    async fn give(
        &self,
        mut rest: usize,
        to: Socket<'_>,
        moved: &mut impl FnMut(usize),
    ) -> io::Result<usize> {
        while rest > 0 {
            match to.try_io(Interest::WRITABLE, || step(&self.end, to, rest)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest -= count;
                    moved(count);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    match timeout(SILENCE, to.ready(Interest::WRITABLE)).await {
                        Ok(ready) => ready?,
                        Err(_) => return Ok(rest),
                    };
                }
                Err(e) => return Err(e),
            }
        }
        Ok(0)
    }

    /// The `rest` that is in it, which waits in this process from now on: pages of pipes are what all programs of the user
    /// share. The permit is for its memory.
    pub(crate) fn empty(self, rest: usize) -> io::Result<(Vec<u8>, SemaphorePermit<'a>)> {
        let mut bytes = vec![0; rest];
        let mut at = 0;
        while at < rest {
            match read(&self.end, &mut bytes[at..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => at += count,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok((bytes, self.permit))
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

/// Whether recv(2) would find something.
fn has_more(socket: impl AsFd) -> bool {
    recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok_and(|(count, _)| count > 0)
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
        let pipe = Pipe::open(&budget).unwrap().unwrap();
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
        let pipe = Pipe::open(&budget).unwrap().unwrap();
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
        let pipe = Pipe::open(&budget).unwrap().unwrap();
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

    /// What arrives of 5,000 bytes, an urgent one and 7,000 more.
    async fn past_urgent_data(is_last: bool) {
        let ((mut source, from), (to, mut sink)) = (tcp().await, tcp().await);
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap().unwrap();
        source.write_all(&[1; 5000]).await.unwrap();
        rustix::net::send(&source, b"!", rustix::net::SendFlags::OOB).unwrap();
        source.write_all(&[2; 7000]).await.unwrap();
        if is_last {
            source.shutdown().await.unwrap();
        }
        let mut carried = 0;
        let ended = pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), |count| carried += count).await;
        assert_eq!((ended.unwrap(), carried), (Carried::Much, 5000));
        let mut seen = vec![0; 5000];
        sink.read_exact(&mut seen).await.unwrap();
        let (mut rest, mut from) = (vec![0; 7000], from);
        timeout(Duration::from_secs(20), from.read_exact(&mut rest)).await.unwrap().unwrap();
        assert_eq!(rest, [2; 7000]);
    }

    #[tokio::test]
    async fn urgent_data_ends_nothing() {
        past_urgent_data(false).await;
        past_urgent_data(true).await;
    }

    #[tokio::test]
    async fn who_does_not_read_holds_no_pipe() {
        let ((mut source, from), (to, mut sink)) = (tcp().await, tcp().await);
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap().unwrap();
        let bytes = pattern();
        let mut carried = 0;
        let write = async {
            // More than fits into the sockets between.
            loop {
                source.write_all(&bytes).await.unwrap();
            }
        };
        let stuck = tokio::select! {
            ended = pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), |count| carried += count) => ended.unwrap(),
            () = write => unreachable!(),
        };
        let Carried::Stuck(rest) = stuck else { panic!("{stuck:?}") };
        let (waiting, permit) = pipe.empty(rest).unwrap();
        assert!(Pipe::open(&budget).is_none());
        drop(permit);
        let mut seen = vec![0; carried];
        sink.read_exact(&mut seen).await.unwrap();
        seen.extend(waiting);
        assert!(seen.iter().enumerate().all(|(at, byte)| *byte == (at % PLENTY % 251) as u8));
    }

    /// Of one that never has to wait itself.
    #[tokio::test]
    async fn others_on_the_thread_live_on() {
        let ((source, from), (to, sink)) = (tcp().await, tcp().await);
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let threads = [(source, true), (sink, false)].map(|(stream, writes)| {
            let (stream, stop) = (stream.into_std().unwrap(), stop.clone());
            stream.set_nonblocking(false).unwrap();
            std::thread::spawn(move || {
                let mut bytes = vec![0; SIZE];
                let mut stream = stream;
                while !stop.load(Ordering::Relaxed) {
                    let done = if writes {
                        io::Write::write(&mut stream, &bytes)
                    } else {
                        io::Read::read(&mut stream, &mut bytes)
                    };
                    if done.is_err() {
                        break;
                    }
                }
            })
        });
        let budget = Semaphore::new(1);
        let pipe = Pipe::open(&budget).unwrap().unwrap();
        let carried = AtomicUsize::new(0);
        let carry = async {
            // On a busy machine either end may be silent for a while.
            loop {
                let count = |count| _ = carried.fetch_add(count, Ordering::Relaxed);
                pipe.carry(Socket::Tcp(&from), Socket::Tcp(&to), count).await.unwrap();
            }
        };
        let other = async {
            let (mut before, mut most) = (0, 0);
            while before < 256 * SIZE {
                yield_now().await;
                let now = carried.load(Ordering::Relaxed);
                (before, most) = (now, most.max(now - before));
            }
            most
        };
        let most = tokio::select! {
            biased;
            () = carry => unreachable!(),
            most = other => most,
        };
        // Two rounds, of which the first is not enough for a pause; and the same before, where it was begun once more.
        assert!(most <= 4 * SIZE, "{most} bytes while nobody else had a turn");
        stop.store(true, Ordering::Relaxed);
        drop((from, to, pipe));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
