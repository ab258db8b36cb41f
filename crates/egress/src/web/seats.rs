//! How many connections are read at once. What they wait with is memory of this process, which no limit of a sandbox bounds.
//!
//! Idle connections are cheap, so there are seats for thousands. Full ones are not: over HTTP/1 each side of a connection
//! holds up to 64 KiB of what came and 64 KiB of what is to go, and the other side of TLS up to 256 KiB of the latter; over
//! HTTP/2 up to 32 streams of some 48 KiB, and a window of 256 KiB. With all seats taken by the worst of both sides that is
//! 0.9 GiB for connections that are opened, 0.5 GiB for those to the proxy, and 0.22 GiB for HTTP/2. By the count of flows
//! alone it would be 14 GiB.

use super::{Timeouts, upstream::Protocol};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Connections in clear and opened ones; and beside them those to the proxy, each of which may carry one of the former: if
/// they shared seats, connections to the proxy could take all and wait for themselves.
const MOST_READ: usize = 2048;
/// Of those that are read. A client makes one connection of HTTP/2 to a host, where it makes many of HTTP/1.
const MOST_HTTP2: usize = 64;

/// Of one gateway.
pub(super) struct Seats {
    read: Arc<Semaphore>,
    proxied: Arc<Semaphore>,
    http2: Arc<Semaphore>,
    /// Seats become free when clients were idle for long enough. Who has waited as long as for a connection to the outside
    /// would rather be told.
    patience: Duration,
}

/// Held by a connection as long as it is there.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let seats = |count| Arc::new(Semaphore::new(count));
        Self {
            read: seats(MOST_READ),
            proxied: seats(MOST_READ),
            http2: seats(MOST_HTTP2),
            patience: timeouts.connect,
        }
    }

    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] when none became free in time; here and below.
    pub(super) async fn read(&self) -> Result<Seat, io::ErrorKind> {
        self.wait(&self.read).await
    }

    pub(super) async fn proxied(&self) -> Result<Seat, io::ErrorKind> {
        self.wait(&self.proxied).await
    }

    async fn http2(&self) -> Result<Seat, io::ErrorKind> {
        self.wait(&self.http2).await
    }

    /// One for HTTP/2 where `offer` has it. Without a free one the client speaks HTTP/1 if it can, and waits if not.
    pub(super) async fn among(&self, offer: &mut Vec<Protocol>) -> Result<Option<Seat>, io::ErrorKind> {
        if !offer.contains(&Protocol::Http2) {
            return Ok(None);
        }
        if let Ok(permit) = Arc::clone(&self.http2).try_acquire_owned() {
            return Ok(Some(Seat { _permit: permit }));
        }
        if offer.contains(&Protocol::Http1) {
            offer.retain(|protocol| *protocol == Protocol::Http1);
            return Ok(None);
        }
        self.http2().await.map(Some)
    }

    async fn wait(&self, seats: &Arc<Semaphore>) -> Result<Seat, io::ErrorKind> {
        match timeout(self.patience, Arc::clone(seats).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Seat { _permit: permit }),
            // The former happens when they are closed, which nobody does.
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::ResourceBusy),
        }
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
