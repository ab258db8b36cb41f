//! Moving bytes from one descriptor to another: in the kernel where it can be, else through a buffer.

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, fstat},
    io::{Errno, read, write},
    pipe::{SpliceFlags, fcntl_setpipe_size, splice},
};
use std::{io, os::fd::BorrowedFd};

/// What a pipe holds unless it is told otherwise, and the size of the buffer.
const CHUNK: usize = 64 << 10;

/// What pipes are enlarged to once there is more to move: the most that an ordinary user may ask for.
const LARGE: usize = 1 << 20;

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Moved,
    /// Little was there although much has come before: the source writes in small pieces.
    Trickled,
    /// The source has ended.
    End,
    /// Nobody reads from the sink any more.
    SinkClosed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Splice,
    Buffer,
}

/// One direction of bytes.
#[derive(Debug)]
pub(super) struct Channel<'a> {
    source: BorrowedFd<'a>,
    sink: BorrowedFd<'a>,
    way: Way,
    buffer: Vec<u8>,
    /// Moved so far, until the pipes are enlarged.
    moved: usize,
    enlarged: bool,
}

impl<'a> Channel<'a> {
    pub(super) fn new(source: BorrowedFd<'a>, sink: BorrowedFd<'a>) -> Self {
        let is_pipe = |fd| fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Fifo);
        // splice(2) wants a pipe on one side; what else it does not like, it says on the first call.
        let way = if is_pipe(source) || is_pipe(sink) { Way::Splice } else { Way::Buffer };
        Self { source, sink, way, buffer: Vec::new(), moved: 0, enlarged: false }
    }

    /// Moves some of what there is, waiting for the sink as long as it takes. To be called when the source is readable.
    ///
    /// # Errors
    /// When the source cannot be read or the sink cannot be written.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        match self.way {
            Way::Splice => self.by_splice(),
            Way::Buffer => self.by_buffer(),
        }
    }

    fn by_splice(&mut self) -> io::Result<Step> {
        match splice(self.source, None, self.sink, None, LARGE, SpliceFlags::MOVE) {
            Ok(0) => Ok(Step::End),
            Ok(moved) => {
                self.enlarge(moved);
                Ok(if self.enlarged && moved < CHUNK { Step::Trickled } else { Step::Moved })
            }
            Err(Errno::INTR) => Ok(Step::Moved),
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(Step::SinkClosed),
            Err(Errno::AGAIN) => {
                // One side has O_NONBLOCK. The source is readable, so it is the sink that must be waited for.
                wait_writable(self.sink)?;
                Ok(Step::Moved)
            }
            // A terminal, an append-only file, a file system without splice; or a terminal whose last holder is gone,
            // which is the end of a source and an error of a sink: read and write tell the two apart.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::IO) => {
                self.way = Way::Buffer;
                self.by_buffer()
            }
            Err(e) => Err(e.into()),
        }
    }

    fn by_buffer(&mut self) -> io::Result<Step> {
        self.buffer.resize(CHUNK, 0);
        let Some(length) = read_some(self.source, &mut self.buffer)? else { return Ok(Step::Moved) };
        if length == 0 {
            return Ok(Step::End);
        }
        write_all(self.sink, &self.buffer[..length])
    }

    /// Large pipes are for streams that fill them: most commands write a few lines.
    fn enlarge(&mut self, moved: usize) {
        self.moved = self.moved.saturating_add(moved);
        if self.moved >= CHUNK && !self.enlarged {
            self.enlarged = true;
            // Refused for what is no pipe, and for a user who has many large ones. Slower is all that it is then.
            let _ = fcntl_setpipe_size(self.source, LARGE);
            let _ = fcntl_setpipe_size(self.sink, LARGE);
        }
    }
}

/// Bytes read; 0 at the end, `None` when there is nothing after all.
pub(super) fn read_some(source: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match read(source, buffer) {
        Ok(length) => Ok(Some(length)),
        // A terminal answers EIO once its last holder is gone.
        Err(Errno::IO | Errno::CONNRESET) => Ok(Some(0)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Writes all of `bytes`, waiting for the sink as long as it takes.
pub(super) fn write_all(sink: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<Step> {
    while !bytes.is_empty() {
        match write(sink, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::AGAIN) => wait_writable(sink)?,
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(Step::SinkClosed),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(Step::Moved)
}

fn wait_writable(sink: BorrowedFd<'_>) -> io::Result<()> {
    wait(&mut [PollFd::from_borrowed_fd(sink, PollFlags::OUT)])
}

/// Waits for any of `fds`, without a deadline.
pub(super) fn wait(fds: &mut [PollFd<'_>]) -> io::Result<()> {
    loop {
        match poll(fds, None) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
