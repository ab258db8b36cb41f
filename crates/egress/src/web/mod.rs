//! HTTP of a sandbox, read by the gateway: requests in clear, TLS that is opened, and requests to the gateway as a proxy.
//!
//! This part knows neither rules nor DNS: a [`Judge`] says what may be asked, [`Roads`] find a way.

mod account;
mod ahead;
mod answer;
mod authority;
mod book;
mod check;
mod filled;
mod headers;
mod host;
mod inject;
mod outgoing;
mod path;
mod proxy;
mod redact;
mod refuse;
mod seats;
mod serve;
mod session;
mod sides;
mod tasks;
mod tls;
mod upload;
mod upstream;

pub(crate) use path::is_ambiguous;

use crate::observer::{Ledger, Outcome, Request};
use agentkernel_backend::ByteStream;
use agentkernel_model::{Error, Result};
use agentkernel_trust::Bound;
use async_trait::async_trait;
use authority::Authority;
use hyper::{http::uri::Scheme, service::service_fn};
use proxy::Proxy;
use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};
use seats::{Seat, Seats};
use session::{Fate, Session, Shared, Slot};
use sides::{Activity, Heads, Patient, Tally};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tasks::Tasks;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex, Semaphore},
};
use upstream::{Dialer, Protocol};

/// Of one message, either way.
const MOST_HEADERS: usize = 100;
/// Bytes of one, and of what is read at once.
const LONGEST_HEAD: usize = 64 * 1024;
const LONGEST_HEAD_H2: u32 = 16 * 1024;
/// Sides of connections that read ahead at once: 17 MiB, and as much again in HTTP. Whoever comes later reads as TLS wants to.
const MOST_WIDE_READS: usize = 64;

/// Where a connection goes, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What SNI, Host and :authority must say: a name in lower case without a dot at its end, or an address as text.
    pub(crate) name: String,
    /// An address that the sandbox may reach under this name.
    pub(crate) address: SocketAddr,
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denied {
    /// The rule that says so, as it is written; `None` where it is for want of one, or for another reason.
    pub(crate) rule: Option<String>,
    /// A sentence without a full stop.
    pub(crate) why: String,
}

/// Where a request to a proxy may go.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) place: Place,
    /// The rule that lets it go there, as it is written; `None` where there is none.
    pub(crate) rule: Option<String>,
}

/// How long is waited for whom.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    /// One of TLS, either side.
    handshake: Duration,
    /// From the first byte of a request to the end of its headers; the first request of a connection has to be there in it.
    head: Duration,
    /// Between requests.
    idle: Duration,
    /// For the other side to be there.
    connect: Duration,
}

const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    head: Duration::from_secs(30),
    idle: Duration::from_secs(60),
    connect: Duration::from_secs(20),
};

/// Says of each request whether it goes out.
pub(crate) trait Judge: Send + Sync {
    /// The rule that lets it out, as it is written; `None` where none was about it. `path` is without its query.
    ///
    /// # Errors
    /// Why it does not go out.
    fn request(&self, place: &Place, method: &str, path: &str)
    -> std::result::Result<Option<String>, Denied>;

    /// What is to be sent to the verified other side; over TLS only.
    fn secrets(&self, place: &Place) -> Vec<Bound>;

    /// Is told of each request once, when its answer has begun or it was refused. Must not block.
    fn observe(&self, request: Request);
}

/// Finds ways for requests to a proxy.
#[async_trait]
pub(crate) trait Roads: Send + Sync {
    /// # Errors
    /// What forbids it, or that the name leads nowhere.
    async fn find(&self, host: &str, port: u16) -> std::result::Result<Way, Denied>;

    /// For a connection that is made to `place`.
    fn ledger(&self, place: &Place) -> Ledger;

    /// Takes the stream behind a CONNECT, to its end.
    async fn tunnel(&self, place: Place, io: Box<dyn ByteStream>);
}

/// What reads HTTP and opens TLS, one for each gateway. Keys and what verifies certificates are made when TLS is opened
/// first.
pub(crate) struct Web {
    dialer: Arc<Dialer>,
    provider: Arc<CryptoProvider>,
    /// The error as text: it is the same for everybody who asks.
    authority: OnceLock<std::result::Result<Authority, String>>,
    timeouts: Timeouts,
    seats: Seats,
    /// See [`Ahead`](ahead::Ahead).
    wide_reads: Arc<Semaphore>,
}

/// What one connection of the sandbox needs while it is served. Dropping it ends all that was started for it.
struct Visit {
    shared: Shared,
    tunnels: Tasks,
    /// Connections to the other side, and the streams of HTTP/2.
    legs: Tasks,
    /// Given back when all of the above is gone.
    seats: Vec<Seat>,
}

impl Web {
    /// `roots` are believed beside those of this machine.
    ///
    /// # Errors
    /// None as yet: what can fail is made later.
    pub(crate) fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self> {
        Ok(Self::with_timeouts(roots, TIMEOUTS))
    }

    fn with_timeouts(roots: Vec<CertificateDer<'static>>, timeouts: Timeouts) -> Self {
        let provider = upstream::provider();
        let wide_reads = Arc::new(Semaphore::new(MOST_WIDE_READS));
        let dialer = Dialer::new(roots, Arc::clone(&provider), timeouts, Arc::clone(&wide_reads));
        let seats = Seats::new(timeouts);
        Self { dialer: Arc::new(dialer), provider, authority: OnceLock::new(), timeouts, seats, wide_reads }
    }

    /// The certificate that the sandbox has to believe, as PEM.
    ///
    /// # Errors
    /// When no key can be made.
    pub(crate) fn authority(&self) -> Result<&str> {
        self.issuer().map(Authority::pem)
    }

    fn issuer(&self) -> Result<&Authority> {
        let made = self.authority.get_or_init(|| Authority::new().map_err(|e| e.to_string()));
        made.as_ref().map_err(|text| Error::internal(text.clone()))
    }

    /// HTTP/1 in clear to `place`, until the sandbox is done.
    pub(crate) async fn plain(
        &self,
        client: Box<dyn ByteStream>,
        place: Place,
        judge: Arc<dyn Judge>,
        ledger: &Ledger,
    ) -> Outcome {
        let tally = Tally::new(ledger);
        let client = tally.count(client);
        let mut visit = Visit::new();
        match self.seats.read().await {
            Ok(seat) => visit.seats.push(seat),
            Err(kind) => return Outcome::Broken(kind),
        }
        let session = self.session(place, judge, Scheme::HTTP, Protocol::Http1, Slot::Empty, &visit);
        self.serve(client, session, visit).await
    }

    /// Requests to the gateway as a proxy, until the sandbox is done.
    pub(crate) async fn proxy(
        &self,
        client: Box<dyn ByteStream>,
        roads: Arc<dyn Roads>,
        judge: Arc<dyn Judge>,
        ledger: &Ledger,
    ) -> Outcome {
        let tally = Tally::new(ledger);
        let mut visit = Visit::new();
        match self.seats.proxied().await {
            Ok(seat) => visit.seats.push(seat),
            Err(kind) => return Outcome::Broken(kind),
        }
        let activity = Arc::clone(&visit.shared.activity);
        let client = Patient::new(tally.count(client), activity, self.timeouts, Heads::Bytes);
        let (dialer, shared) = (Arc::clone(&self.dialer), visit.shared.clone());
        let proxy = Arc::new(Proxy { dialer, roads, judge, last: Mutex::new(None), shared });
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
        });
        let served = serve::serve(client, Protocol::Http1, service, visit.legs.spawner()).await;
        visit.end(served).await
    }

    /// Answers HTTP in clear with 403 and `why`, and closes.
    pub(crate) async fn refuse_http(client: Box<dyn ByteStream>, why: &str) {
        refuse::http(client, why).await;
    }

    /// Fails a TLS handshake by the alert `access_denied`, and closes.
    pub(crate) async fn refuse_tls(client: Box<dyn ByteStream>) {
        refuse::tls(client).await;
    }

    fn session(
        &self,
        place: Place,
        judge: Arc<dyn Judge>,
        scheme: Scheme,
        protocol: Protocol,
        slot: Slot,
        visit: &Visit,
    ) -> Session {
        let (dialer, shared) = (Arc::clone(&self.dialer), visit.shared.clone());
        Session { dialer, judge, roads: None, place, scheme, protocol, slot: Mutex::new(slot), shared }
    }

    async fn serve<I>(&self, client: I, session: Session, visit: Visit) -> Outcome
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let protocol = session.protocol;
        let heads = match protocol {
            Protocol::Http1 => Heads::Bytes,
            Protocol::Http2 => Heads::Unseen,
        };
        let client = Patient::new(client, Arc::clone(&visit.shared.activity), self.timeouts, heads);
        let session = Arc::new(session);
        let service = service_fn(move |request| {
            let session = Arc::clone(&session);
            async move { Ok::<_, Infallible>(session.answer(request).await) }
        });
        let served = serve::serve(client, protocol, service, visit.legs.spawner()).await;
        visit.end(served).await
    }
}

impl Visit {
    fn new() -> Self {
        let (tunnels, legs) = (Tasks::default(), Tasks::default());
        let shared = Shared {
            activity: Activity::new(),
            fate: Arc::new(Fate::default()),
            legs: legs.spawner(),
            tunnels: tunnels.spawner(),
        };
        Self { shared, tunnels, legs, seats: Vec::new() }
    }

    /// Streams behind an upgrade are still there when HTTP has ended.
    async fn end(self, served: std::result::Result<(), io::ErrorKind>) -> Outcome {
        self.shared.fate.ended(served.map_or_else(Outcome::Broken, |()| Outcome::Closed));
        self.tunnels.join().await;
        // What they connected to is told before the end of the connection is.
        self.legs.end().await;
        match (served, self.shared.fate.unreachable()) {
            (Err(kind), _) => Outcome::Broken(kind),
            (Ok(()), Some(kind)) => Outcome::Unreachable(kind),
            (Ok(()), None) => Outcome::Closed,
        }
    }
}

#[cfg(test)]
mod tests;
