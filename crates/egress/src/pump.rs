//! Bytes between a sandbox and the outside, both ways, in constant memory.

use crate::{
    buffer::Buffer,
    observer::{Counter, Ledger, Outcome},
};
use agentkernel_backend::ByteStream;
use std::{io, pin::pin};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
    sync::{Semaphore, watch},
};

/// Why one direction broke off.
enum Fault {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies until both sides have finished, or one broke off. The end of one direction is passed on and leaves the other
/// open, but for a sandbox that has `ended`: nobody is left to read. Dropping the future closes both sides.
pub(crate) async fn pump(
    inside: Box<dyn ByteStream>,
    mut outside: TcpStream,
    ledger: &Ledger,
    wide: &Semaphore,
    mut ended: watch::Receiver<bool>,
) -> Outcome {
    let (inside_read, inside_write) = split(inside);
    let (outside_read, outside_write) = outside.split();
    let mut upload = pin!(copy(inside_read, outside_write, &ledger.sent, Buffer::new(wide)));
    let mut download = pin!(copy(outside_read, inside_write, &ledger.received, Buffer::new(wide)));
    let result = tokio::select! {
        up = &mut upload => match up {
            Ok(()) => tokio::select! {
                down = download => down,
                _ = ended.wait_for(|ended| *ended) => Ok(()),
            },
            // A server that answers early and hangs up: what it said is still to be read.
            Err(Fault::Writing(e)) => download.await.and(Err(Fault::Writing(e))),
            Err(fault) => Err(fault),
        },
        down = &mut download => match down {
            Ok(()) => upload.await,
            Err(fault) => Err(fault),
        },
    };
    match result {
        Ok(()) => Outcome::Closed,
        Err(Fault::Reading(e) | Fault::Writing(e)) => Outcome::Broken(e.kind()),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &Counter,
    mut buffer: Buffer<'_>,
) -> Result<(), Fault> {
    loop {
        let count = from.read(&mut buffer.bytes).await.map_err(Fault::Reading)?;
        let Some(bytes) = buffer.bytes.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        to.write_all(bytes).await.map_err(Fault::Writing)?;
        to.flush().await.map_err(Fault::Writing)?;
        counter.add(count);
        buffer.adapt(count);
    }
    match to.shutdown().await {
        // The other side is gone already: there is nobody left to tell.
        Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(()),
        Err(e) => Err(Fault::Writing(e)),
        Ok(()) => Ok(()),
    }
}
