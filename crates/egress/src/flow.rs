//! One TCP connection of a sandbox: decided, connected, copied.

use crate::{
    dns,
    gateway::Shared,
    observer::{Ledger, Outcome},
    pump::pump,
};
use agentkernel_backend::Flow;
use rustix::net::sockopt;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

/// Silence after which the other end is asked whether it is still there, so that dead peers do not hold a place.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// Serves `flow` to its end, holding its place. A refused connection is closed at once.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    flow: Flow,
    _place: OwnedSemaphorePermit,
    ended: watch::Receiver<bool>,
) {
    let Flow { original_dst, io } = flow;
    let mut ledger = Ledger::open(shared.observer.clone(), original_dst);
    if original_dst.port() == dns::PORT {
        ledger.outcome = Outcome::Resolver;
        dns::stream::serve(&shared.forwarder, shared.limits.dns_idle, io, &ledger).await;
        return;
    }
    if let Err(reason) = shared.check(original_dst) {
        ledger.outcome = Outcome::Refused(reason);
        return;
    }
    match connect(canonical(original_dst), shared.limits.connect).await {
        Ok(outside) => ledger.outcome = pump(io, outside, &ledger, ended).await,
        Err(e) => ledger.outcome = Outcome::Unreachable(e.kind()),
    }
}

/// An IPv4-mapped address as IPv4: a machine without IPv6 can reach it.
fn canonical(target: SocketAddr) -> SocketAddr {
    match target.ip().to_canonical() {
        ip if ip == target.ip() => target,
        ip => SocketAddr::new(ip, target.port()),
    }
}

async fn connect(target: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = timeout(patience, TcpStream::connect(target)).await??;
    // The sandbox has no say over Nagle's algorithm on this leg; waiting twice would cost a round trip.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
    Ok(stream)
}
