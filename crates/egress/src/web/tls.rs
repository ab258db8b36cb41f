//! TLS of the sandbox, opened.

use super::{
    Judge, Place, Visit, Web,
    ahead::Ahead,
    filled::Filled,
    refuse,
    session::{Session, Slot},
    sides::{Counted, Tally},
    upstream::Protocol,
};
use crate::observer::{Ledger, Outcome};
use agentkernel_backend::ByteStream;
use agentkernel_model::{Error, Result};
use hyper::http::uri::Scheme;
use rustls::{
    ServerConfig,
    server::{Acceptor, ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{io, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

/// What is encrypted before it is sent: a few records. By the usual limit of 64 KiB a piece of that size and the frame of its
/// chunk would be two.
const WRITTEN_AT_ONCE: usize = 66 * 1024;

type Client = Ahead<Counted<Box<dyn ByteStream>>>;
type Hello = StartHandshake<Client>;
type Opened = TlsStream<Client>;

impl Web {
    /// TLS to `place`, which begins with a ClientHello, until the sandbox is done.
    ///
    /// The other side is asked first what it speaks, and the sandbox is offered that and nothing else: both sides then speak
    /// the same, and nothing of HTTP has to be translated. Where the other side is not reached, or is not who it should be,
    /// the sandbox is let in all the same and told so by its first answer.
    pub(crate) async fn open_tls(
        &self,
        client: Box<dyn ByteStream>,
        place: Place,
        judge: Arc<dyn Judge>,
        ledger: &Ledger,
    ) -> Outcome {
        let tally = Tally::new(ledger);
        // Apart, so that a connection that is open does not hold what only its beginning needs.
        let client = Ahead::new(tally.count(client), Arc::clone(&self.wide_reads));
        let met = Box::pin(self.meet(client, place, judge)).await;
        match met {
            Ok((client, session, visit)) => self.serve(Filled::new(*client), session, visit).await,
            Err(outcome) => outcome,
        }
    }

    async fn meet(
        &self,
        client: Client,
        place: Place,
        judge: Arc<dyn Judge>,
    ) -> std::result::Result<(Box<Opened>, Session, Visit), Outcome> {
        let mut visit = Visit::new();
        visit.seats.push(self.seats.read().await.map_err(Outcome::Broken)?);
        let hello =
            in_time(self.timeouts.handshake, LazyConfigAcceptor::new(Acceptor::default(), client)).await?;
        // The connection was decided for this name. Without one it was decided by its address.
        if hello.client_hello().server_name().is_some_and(|name| !name.eq_ignore_ascii_case(&place.name)) {
            refuse::say(hello.io, &refuse::ACCESS_DENIED).await;
            return Err(Outcome::Broken(io::ErrorKind::PermissionDenied));
        }
        let Some(mut offer) = offer(&hello) else {
            refuse::say(hello.io, &refuse::NO_APPLICATION_PROTOCOL).await;
            return Err(Outcome::Broken(io::ErrorKind::Unsupported));
        };
        let seat = self.seats.among(&mut offer).await.map_err(Outcome::Broken)?;
        let reached = self.dialer.reach(&place, &Scheme::HTTPS, &offer, &visit.shared.legs, None).await;
        let (slot, protocol) = match reached {
            Ok((leg, protocol)) => {
                visit.shared.fate.reached();
                (Slot::Waiting(leg), protocol)
            }
            Err(failure) => {
                visit.shared.fate.failed(failure.kind);
                (Slot::Failed(failure), offer.first().copied().unwrap_or(Protocol::Http1))
            }
        };
        visit.seats.extend(seat.filter(|_| protocol == Protocol::Http2));
        let config = self.server_config(&place.name, protocol);
        let config = config.map_err(|_| Outcome::Broken(io::ErrorKind::Other))?;
        let mut client = in_time(self.timeouts.handshake, hello.into_stream(config)).await?;
        client.get_mut().1.set_buffer_limit(Some(WRITTEN_AT_ONCE));
        let session = self.session(place, judge, Scheme::HTTPS, protocol, slot, &visit);
        Ok((Box::new(client), session, visit))
    }

    /// One for each connection: there is no session of one host that another could take up.
    fn server_config(&self, name: &str, protocol: Protocol) -> Result<Arc<ServerConfig>> {
        let key = self.issuer()?.leaf(name)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal("TLS cannot be set up").with_source(e))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Only(key)));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.ignore_client_order = true;
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(Arc::new(config))
    }
}

/// A step of a handshake, or how the connection ends without it.
async fn in_time<T>(
    patience: Duration,
    step: impl Future<Output = io::Result<T>>,
) -> std::result::Result<T, Outcome> {
    match timeout(patience, step).await {
        Ok(done) => done.map_err(|e| Outcome::Broken(e.kind())),
        Err(_) => Err(Outcome::Broken(io::ErrorKind::TimedOut)),
    }
}

/// What the client speaks of HTTP, in its order; `None` where it wants to speak something else.
fn offer(hello: &Hello) -> Option<Vec<Protocol>> {
    let hello = hello.client_hello();
    let Some(wishes) = hello.alpn() else { return Some(vec![Protocol::Http1]) };
    let known =
        |wish: &[u8]| [Protocol::Http1, Protocol::Http2].into_iter().find(|protocol| protocol.alpn() == wish);
    let mut offer: Vec<Protocol> = wishes.filter_map(known).collect();
    offer.dedup();
    (!offer.is_empty()).then_some(offer)
}

#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
