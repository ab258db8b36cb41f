//! TLS of the sandbox, opened.

use super::{
    Judge, Place, Visit, Web, refuse,
    session::Slot,
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
use std::{io, sync::Arc};
use tokio::time::timeout;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

type Hello = StartHandshake<Counted<Box<dyn ByteStream>>>;

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
        let accepting = LazyConfigAcceptor::new(Acceptor::default(), tally.count(client));
        let hello = match timeout(self.timeouts.handshake, accepting).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(e)) => return Outcome::Broken(e.kind()),
            Err(_) => return Outcome::Broken(io::ErrorKind::TimedOut),
        };
        // The connection was decided for this name. Without one it was decided by its address.
        if hello.client_hello().server_name().is_some_and(|name| !name.eq_ignore_ascii_case(&place.name)) {
            refuse::say(hello.io, &refuse::ACCESS_DENIED).await;
            return Outcome::Broken(io::ErrorKind::PermissionDenied);
        }
        let Some(offer) = offer(&hello) else {
            refuse::say(hello.io, &refuse::NO_APPLICATION_PROTOCOL).await;
            return Outcome::Broken(io::ErrorKind::Unsupported);
        };
        self.opened(hello, place, judge, &offer).await
    }

    async fn opened(&self, hello: Hello, place: Place, judge: Arc<dyn Judge>, offer: &[Protocol]) -> Outcome {
        let visit = Visit::new();
        let reached = self.dialer.reach(&place, &Scheme::HTTPS, offer, &visit.shared.legs).await;
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
        let Ok(config) = self.server_config(&place.name, protocol) else {
            return Outcome::Broken(io::ErrorKind::Other);
        };
        let client = match timeout(self.timeouts.handshake, hello.into_stream(config)).await {
            Ok(Ok(client)) => client,
            Ok(Err(e)) => return Outcome::Broken(e.kind()),
            Err(_) => return Outcome::Broken(io::ErrorKind::TimedOut),
        };
        let session = self.session(place, judge, Scheme::HTTPS, protocol, slot, &visit);
        self.serve(client, session, visit).await
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
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Ok(Arc::new(config))
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
