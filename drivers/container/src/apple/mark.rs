//! Waiting for the word of a script that runs inside, on a stream that is the caller's from then on.

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};
use std::{io, os::fd::OwnedFd};
use tokio::{io::AsyncReadExt as _, net::unix::pipe::Receiver};

/// The most bytes before the word.
const MAX: usize = 64 << 10;

/// What came on the stream.
#[derive(Debug)]
pub(crate) enum Mark {
    /// What stood after the nonce.
    Said(String),
    /// It ended before: everything that came.
    Ended(Vec<u8>),
}

/// Reads `source` up to the end of the first line with `nonce` in it, and not a byte more. Cancelling it loses the stream.
///
/// # Errors
/// When it cannot be read; [`io::ErrorKind::InvalidData`] when too much comes first.
pub(crate) async fn find(source: OwnedFd, nonce: &str) -> io::Result<(Mark, OwnedFd)> {
    fcntl_setfl(&source, fcntl_getfl(&source)? | OFlags::NONBLOCK)?;
    // Unchecked: a terminal is read in the same way.
    let mut source = Receiver::from_owned_fd_unchecked(source)?;
    let mut seen = Vec::new();
    let mark = loop {
        let mut byte = [0];
        match source.read(&mut byte).await {
            Ok(0) => break Mark::Ended(seen),
            Ok(_) => seen.push(byte[0]),
            // A terminal whose last holder is gone.
            Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => break Mark::Ended(seen),
            Err(e) => return Err(e),
        }
        if byte[0] == b'\n'
            && let Some(said) = said(&seen, nonce)
        {
            break Mark::Said(said);
        }
        if seen.len() > MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    Ok((mark, source.into_blocking_fd()?))
}

/// What stands after `nonce` in the last line of `seen`.
fn said(seen: &[u8], nonce: &str) -> Option<String> {
    let text = String::from_utf8_lossy(seen);
    let line = text.lines().next_back()?;
    let (_, said) = line.split_once(nonce)?;
    Some(said.trim().to_owned())
}

#[cfg(test)]
#[path = "mark_tests.rs"]
mod tests;
